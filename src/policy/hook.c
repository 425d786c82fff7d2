/*
 * policy/hook.c: registering: function on.rcpt(...) end, and hook("rcpt", "name", fn, {
 * priority = 5 }).
 *
 * The same code runs while a file is checked, where a mistake is reported and checking goes on,
 * and in a worker, where it ends the loading.
 */
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/slice.h"
#include "policy/declare.h"
#include "policy/engine.h"

static void mistake(lua_State *L, const char *fmt, ...) BARID_PRINTF(2, 3);
static void mistake(lua_State *L, const char *fmt, ...)
{
    struct declare *d = script_of(L)->declare;
    char text[300];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (d == NULL) {
        luaL_error(L, "%s", text);
        return;
    }
    d->L = L;
    declare_mistake(d, "%s", text);
}

/* Every event but what the embedder itself must do. */
static bool is_available(enum barid_event_id id)
{
    return barid_event_info_get(id)->kind != BARID_KIND_HOST;
}

static const char *nearest_event(const char *name)
{
    const char *names[BARID_EVENTS + 1];
    size_t n = 0;

    for (int id = 1; id < BARID_EVENTS; id++) {
        if (is_available((enum barid_event_id)id))
            names[n++] = barid_event_info_get((enum barid_event_id)id)->name;
    }
    names[n] = NULL;
    return script_nearest(name, names);
}

/* BARID_EVENT_NONE = reported. */
static enum barid_event_id event_named(lua_State *L, const char *name)
{
    enum barid_event_id id = barid_event_by_name(slice_str(name));
    const char *near;

    if (id != BARID_EVENT_NONE && is_available(id))
        return id;
    near = nearest_event(name);
    if (near != NULL)
        mistake(L, "on.%s: there is no such event, did you mean on.%s?", name, near);
    else
        mistake(L, "on.%s: there is no such event", name);
    return BARID_EVENT_NONE;
}

/* The function at the top of the stack. */
static void add(lua_State *L, enum barid_event_id event, const char *name, int priority)
{
    struct engine *e = engine_of(L);
    struct script *s = script_of(L);
    lua_Debug ar;
    struct hook *h;

    if (s->declare != NULL) {
        s->declare->hooked |= BARID_EVENT_BIT(event);
        return;
    }
    h = mem_zalloc(s->mem, sizeof(*h));
    if (h == NULL)
        luaL_error(L, "not enough memory");
    if (e->last_hook != NULL)
        e->last_hook->next = h;
    else
        e->hooks = h;
    e->last_hook = h;
    h->engine = e;
    h->event = event;
    h->priority = priority;
    snprintf(h->name, sizeof(h->name), "%s", name);
    lua_pushvalue(L, -1);
    lua_getinfo(L, ">Su", &ar);
    snprintf(h->where, sizeof(h->where), "%s:%d", ar.short_src, ar.linedefined);
    h->params = ar.isvararg ? 1 : ar.nparams;
    lua_pushvalue(L, -1);
    h->fn = luaL_ref(L, LUA_REGISTRYINDEX);
}

static bool is_loading(lua_State *L, const char *what)
{
    if (!script_of(L)->loading)
        luaL_error(L, "%s: hooks are set while the file is loaded, not in a hook", what);
    return true;
}

/*** @function hook(event, name, fn, options)
 * Adds a handler of an event. Several handlers run in order of priority, then of registration;
 * the first that answers anything but nothing decides.
 * @param {string} event the event's name
 * @param {string} name how the handler is called in logs and in the explain trace
 * @param {function} fn
 * @param {table} options optional: `{ priority = n }`, lower runs first, 0 by default
 */
static int hook(lua_State *L)
{
    const char *event = luaL_checkstring(L, 1), *name = luaL_checkstring(L, 2);
    lua_Integer priority = 0;
    enum barid_event_id id;
    int exact = 1;

    is_loading(L, "hook");
    luaL_checktype(L, 3, LUA_TFUNCTION);
    if (!lua_isnoneornil(L, 4)) {
        luaL_checktype(L, 4, LUA_TTABLE);
        for (lua_pushnil(L); lua_next(L, 4) != 0; lua_pop(L, 1)) {
            if (lua_type(L, -2) != LUA_TSTRING || strcmp(lua_tostring(L, -2), "priority") != 0)
                mistake(L, "hook: unknown option '%s', there is priority",
                        luaL_tolstring(L, -2, NULL)),
                    lua_pop(L, 1);
        }
        lua_getfield(L, 4, "priority");
        if (!lua_isnil(L, -1))
            priority = lua_tointegerx(L, -1, &exact);
        if (!exact || priority < -1000000 || priority > 1000000) {
            mistake(L, "hook: priority must be a whole number from -1000000 to 1000000");
            priority = 0;
        }
    }
    lua_settop(L, 3);
    id = event_named(L, event);
    if (id != BARID_EVENT_NONE)
        add(L, id, name, (int)priority);
    return 0;
}

/* on.NAME = fn. Upvalue 1: name -> where it was set. */
static int set_on(lua_State *L)
{
    char where[SCRIPT_WHERE_SIZE], name[64];
    enum barid_event_id id;

    if (lua_type(L, 2) != LUA_TSTRING)
        return luaL_error(L, "on.NAME = function: the name of an event is expected");
    is_loading(L, "on");
    id = event_named(L, lua_tostring(L, 2));
    if (id == BARID_EVENT_NONE)
        return 0;
    snprintf(name, sizeof(name), "on.%s", lua_tostring(L, 2));
    if (!lua_isfunction(L, 3)) {
        mistake(L, "%s: a function is expected, got %s", name, luaL_typename(L, 3));
        return 0;
    }
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) {
        mistake(L, "%s is set twice, first at %s; use hook(\"%s\", ...) for more than one",
                name, lua_tostring(L, -1), lua_tostring(L, 2));
        return 0;
    }
    script_where(L, 1, where);
    lua_pushvalue(L, 2);
    lua_pushstring(L, where);
    lua_rawset(L, lua_upvalueindex(1));
    lua_settop(L, 3);
    add(L, id, name, 0);
    return 0;
}

static int get_on(lua_State *L)
{
    return luaL_error(L, "on.%s can be set, not read", luaL_tolstring(L, 2, NULL));
}

void hook_open(lua_State *L)
{
    lua_pushcfunction(L, hook);
    lua_setfield(L, -2, "hook");
    lua_newtable(L);
    lua_createtable(L, 0, 3);
    lua_newtable(L);
    lua_pushcclosure(L, set_on, 1);
    lua_setfield(L, -2, "__newindex");
    lua_pushcfunction(L, get_on);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_setfield(L, -2, "on");
}
