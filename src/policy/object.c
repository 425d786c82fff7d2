/*
 * policy/object.c: userdata whose fields are C functions.
 *
 * Field names are short strings, which Lua keeps once each: the address of the key is its
 * identity. Each class has a hash table from that address to the field, so that reading a field
 * costs one probe and one call, with no comparison of text. The names are anchored in the
 * registry, so the addresses stay.
 *
 * Every userdata that a script can hold is ours and begins with struct object: a method given
 * the wrong one notices.
 */
#include "base/mem.h"
#include "base/slice.h"
#include "policy/engine.h"

struct slot {
    const char *key;
    const struct field *field;
};
struct class_table {
    const struct class *class;
    int metatable; /* registry reference */
    size_t mask;
    struct slot slots[];
};

static size_t slot_of(const struct class_table *t, const char *key)
{
    uintptr_t bits = (uintptr_t)key;

    return ((bits >> 4) ^ (bits >> 11)) & t->mask;
}

static const struct field *find(const struct class_table *t, const char *key)
{
    size_t i = slot_of(t, key);

    while (t->slots[i].key != key) {
        if (t->slots[i].key == NULL)
            return NULL;
        i = (i + 1) & t->mask;
    }
    return t->slots[i].field;
}

static int no_such_field(lua_State *L, const struct class *class)
{
    const char *names[64], *near;
    size_t n = 0;

    for (; class->fields[n].name != NULL && n < 63; n++)
        names[n] = class->fields[n].name;
    names[n] = NULL;
    if (lua_type(L, 2) != LUA_TSTRING)
        return luaL_error(L, "%s has no field of type %s", class->name, luaL_typename(L, 2));
    near = script_nearest(lua_tostring(L, 2), names);
    if (near != NULL)
        return luaL_error(L, "%s has no field '%s', did you mean '%s'?", class->name,
                          lua_tostring(L, 2), near);
    return luaL_error(L, "%s has no field '%s'", class->name, lua_tostring(L, 2));
}

static int over(lua_State *L, const struct class *class)
{
    return luaL_error(L, "this %s is over: it can be used only while its hook runs",
                      class->name);
}

static const struct field *key_field(lua_State *L, const struct class_table *t)
{
    if (lua_type(L, 2) != LUA_TSTRING)
        return NULL;
    return find(t, lua_tostring(L, 2));
}

static int object_index(lua_State *L)
{
    const struct class_table *t = lua_touserdata(L, lua_upvalueindex(1));
    struct object *o = lua_touserdata(L, 1);
    const struct field *f = key_field(L, t);

    if (f == NULL)
        return no_such_field(L, t->class);
    if (f->method != NULL) {
        lua_pushcfunction(L, f->method);
        return 1;
    }
    if (o->p == NULL)
        return over(L, t->class);
    return f->get(L, o);
}

static int object_newindex(lua_State *L)
{
    const struct class_table *t = lua_touserdata(L, lua_upvalueindex(1));
    struct object *o = lua_touserdata(L, 1);
    const struct field *f = key_field(L, t);

    if (f == NULL)
        return no_such_field(L, t->class);
    if (f->set == NULL)
        return luaL_error(L, "%s.%s is read-only", t->class->name, f->name);
    if (o->p == NULL)
        return over(L, t->class);
    f->set(L, o);
    return 0;
}

static int object_tostring(lua_State *L)
{
    const struct object *o = lua_touserdata(L, 1);

    lua_pushstring(L, o->class->name);
    return 1;
}

static void set_function(lua_State *L, const char *name, lua_CFunction fn,
                         struct class_table *t)
{
    lua_pushlightuserdata(L, t);
    lua_pushcclosure(L, fn, 1);
    lua_setfield(L, -2, name);
}

/* stack: ..., metatable: names into slots, anchored by the metatable's "names". */
static void fill(lua_State *L, struct class_table *t)
{
    lua_newtable(L);
    for (const struct field *f = t->class->fields; f != NULL && f->name != NULL; f++) {
        size_t i;
        lua_pushstring(L, f->name);
        for (i = slot_of(t, lua_tostring(L, -1)); t->slots[i].key != NULL;)
            i = (i + 1) & t->mask;
        t->slots[i] = (struct slot){lua_tostring(L, -1), f};
        lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    }
    lua_setfield(L, -2, "names");
}

void class_open(lua_State *L, const struct class *class)
{
    struct engine *e = engine_of(L);
    struct class_table *t;
    size_t n = 0, slots = 8;

    while (class->fields != NULL && class->fields[n].name != NULL)
        n++;
    while (slots < 3 * n)
        slots *= 2;
    t = lua_newuserdatauv(L, sizeof(*t) + slots * sizeof(t->slots[0]), 0);
    memset(t, 0, sizeof(*t) + slots * sizeof(t->slots[0]));
    t->class = class;
    t->mask = slots - 1;
    lua_createtable(L, 0, 8);
    fill(L, t);
    set_function(L, "__index", class->index != NULL ? class->index : object_index, t);
    set_function(L, "__newindex", class->newindex != NULL ? class->newindex : object_newindex,
                 t);
    set_function(L, "__tostring", object_tostring, t);
    if (class->gc != NULL)
        set_function(L, "__gc", class->gc, t);
    if (class->pairs != NULL)
        set_function(L, "__pairs", class->pairs, t);
    lua_pushstring(L, class->name);
    lua_setfield(L, -2, "__name");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "table"); /* keeps t */
    t->metatable = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pop(L, 1);
    e->classes[class->id] = t;
}

void *object_new(lua_State *L, int class_id, size_t size, int values)
{
    const struct class_table *t = engine_of(L)->classes[class_id];
    struct object *o = lua_newuserdatauv(L, size, values);

    memset(o, 0, size);
    o->class = t->class;
    lua_rawgeti(L, LUA_REGISTRYINDEX, t->metatable);
    lua_setmetatable(L, -2);
    return o;
}

struct object *object_test(lua_State *L, int arg, const struct class *class)
{
    struct object *o = lua_type(L, arg) == LUA_TUSERDATA ? lua_touserdata(L, arg) : NULL;

    return o != NULL && lua_rawlen(L, arg) >= sizeof(*o) && o->class == class ? o : NULL;
}

struct object *object_check(lua_State *L, int arg, const struct class *class)
{
    struct object *o = object_test(L, arg, class);

    if (o == NULL) {
        luaL_typeerror(L, arg, class->name);
        return NULL;
    }
    if (o->p == NULL)
        over(L, class);
    return o;
}

/* --- what setters are given -----------------------------------------------------------------
 */

barid_slice text_check(lua_State *L, struct arena *arena, const char *what, size_t max)
{
    barid_slice copy = {0};

    if (lua_isnil(L, 3))
        return copy;
    if (lua_type(L, 3) != LUA_TSTRING)
        luaL_error(L, "%s: a text is expected, not a %s", what, luaL_typename(L, 3));
    if (lua_rawlen(L, 3) > max)
        luaL_error(L, "%s: longer than %I octets", what, (lua_Integer)max);
    if (lua_rawlen(L, 3) > 0)
        check_rc(L, arena_slice(arena, script_slice(L, 3), &copy), what);
    return copy;
}

bool flag_check(lua_State *L, const char *what)
{
    if (!lua_isboolean(L, 3))
        luaL_error(L, "%s: true or false is expected, not a %s", what, luaL_typename(L, 3));
    return lua_toboolean(L, 3);
}

uint64_t number_check(lua_State *L, const char *what, uint64_t low, uint64_t high)
{
    int exact = 0;
    lua_Integer n = lua_type(L, 3) == LUA_TNUMBER ? lua_tointegerx(L, 3, &exact) : 0;

    if (!exact || n < (lua_Integer)low || n > (lua_Integer)high)
        luaL_error(L, "%s: a whole number from %I to %I is expected, not %s", what,
                   (lua_Integer)low, (lua_Integer)high, luaL_tolstring(L, 3, NULL));
    return (uint64_t)n;
}
