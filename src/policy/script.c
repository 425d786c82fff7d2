/*
 * policy/script.c: the Lua state: its allocator, its globals, loading and freezing.
 *
 * Globals. The chunk's _ENV is an empty table whose metatable leads every read to the real
 * table of globals (store) and every write through a function. So one switch, script.loading,
 * decides whether a write defines a global, makes a declaration (declare.c), or is an error;
 * and nothing a hook does can change what another mail's hook sees. Libraries are proxied the
 * same way. Metatables are hidden by __metatable.
 */
#include "policy/script.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/slice.h"
#include "policy/declare.h"
#include "policy/engine.h"
#include "policy/module.h"

static void *allocate(void *user, void *p, size_t old, size_t size)
{
    struct script *s = user;
    void *fresh;

    if (p == NULL)
        old = 0; /* then it is a type tag */
    if (size == 0) {
        mem_free(s->mem, p);
        s->used -= old;
        return NULL;
    }
    if (size > old &&
        s->used - old + size > (s->max_declared != NULL ? *s->max_declared : s->max))
        return NULL;
    fresh = mem_realloc(s->mem, p, size);
    if (fresh == NULL)
        return size <= old ? p : NULL; /* Lua relies on shrinking to succeed */
    s->used += size - old;
    return fresh;
}

void script_where(lua_State *L, int level, char out[SCRIPT_WHERE_SIZE])
{
    lua_Debug ar;

    out[0] = '\0';
    for (; lua_getstack(L, level, &ar); level++) {
        if (lua_getinfo(L, "Sl", &ar) && ar.currentline > 0) {
            snprintf(out, SCRIPT_WHERE_SIZE, "%s:%d", ar.short_src, ar.currentline);
            return;
        }
    }
}

barid_slice script_check_slice(lua_State *L, int arg)
{
    if (lua_type(L, arg) != LUA_TSTRING) /* a number is no text by accident */
        luaL_typeerror(L, arg, "string");
    return script_slice(L, arg);
}

/* --- nearest name ---------------------------------------------------------------------------
 */

#define WORD_MAX 40

/* Edits (insert, delete, replace, swap of neighbours count one or two) between two short words.
 */
static size_t distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b), row[WORD_MAX + 1], diagonal, up;

    if (n > WORD_MAX || m > WORD_MAX)
        return WORD_MAX;
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            up = row[j];
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (up + 1 < best)
                best = up + 1;
            diagonal = up;
            row[j] = best;
        }
    }
    return row[m];
}

const char *script_nearest(const char *word, const char *const *names)
{
    const char *best = NULL;
    size_t least = strlen(word) / 3 + 1, d;

    for (; *names != NULL; names++) {
        d = distance(word, *names);
        if (d <= least && (best == NULL || d < least)) {
            best = *names;
            least = d;
        }
    }
    return best;
}

/* --- proxies --------------------------------------------------------------------------------
 */

static int no_write(lua_State *L)
{
    return luaL_error(L, "%s cannot be changed", lua_tostring(L, lua_upvalueindex(1)));
}

static int no_field(lua_State *L)
{
    return luaL_error(L, "%s has no '%s'", lua_tostring(L, lua_upvalueindex(1)),
                      luaL_tolstring(L, 2, NULL));
}

void script_proxy(lua_State *L, const char *what)
{
    /* stack: globals, real */
    lua_createtable(L, 0, 1);
    lua_pushstring(L, what);
    lua_pushcclosure(L, no_field, 1);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    lua_newtable(L);
    lua_createtable(L, 0, 4);
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pushstring(L, what);
    lua_pushcclosure(L, no_write, 1);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pushstring(L, what);
    if (lua_rawget(L, -5) == LUA_TFUNCTION)
        lua_setfield(L, -2, "__call");
    else
        lua_pop(L, 1);
    lua_setmetatable(L, -2); /* stack: globals, real, proxy */
    lua_remove(L, -2);
}

/* --- globals --------------------------------------------------------------------------------
 */

static int write_global(lua_State *L)
{
    const char *name = luaL_tolstring(L, 2, NULL);
    struct script *s = script_of(L);

    lua_pop(L, 1);
    if (!s->loading)
        return luaL_error(L,
                          "global '%s' cannot be written in a hook: use local, mail.vars, "
                          "session.vars, or shared "
                          "for what all mails see",
                          name);
    if (lua_type(L, 2) != LUA_TSTRING)
        return luaL_error(L, "a global needs a name");
    if (declare_assign(L))
        return 0;
    lua_settop(L, 3);
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    lua_rawget(L, lua_upvalueindex(2)); /* was it one of ours? */
    if (!lua_isnil(L, -1))
        return luaL_error(L, "'%s' is built in and cannot be replaced", name);
    lua_settop(L, 3);
    lua_rawset(L, lua_upvalueindex(1));
    return 0;
}

static int read_undefined(lua_State *L)
{
    const char *name = luaL_tolstring(L, 2, NULL);

    if (script_of(L)->loading && declare_unknown(L, name))
        return 1;
    return luaL_error(L, "undefined global '%s'", name);
}

/* stack: store -> env */
static void make_env(lua_State *L)
{
    lua_newtable(L); /* built: value -> true, of what the sandbox put there */
    lua_pushnil(L);
    while (lua_next(L, -3) != 0) {
        lua_pushboolean(L, 1);
        lua_rawset(L, -4);
    }
    /* stack: store, built */
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, read_undefined);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -3);
    lua_newtable(L);
    lua_createtable(L, 0, 3);
    lua_pushvalue(L, -4);
    lua_setfield(L, -2, "__index");
    lua_pushvalue(L, -4);
    lua_pushvalue(L, -4);
    lua_pushcclosure(L, write_global, 2);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    /* stack: store, built, env */
    lua_replace(L, -3);
    lua_pop(L, 1);
}

static int open_state(lua_State *L)
{
    lua_newtable(L);
    declare_open(L);
    sandbox_open(L);
    module_open(L);
    engine_open(L);
    make_env(L);
    lua_setfield(L, LUA_REGISTRYINDEX, "barid.env");
    return 0;
}

int script_init(struct script *s)
{
    if (s->max == 0)
        s->max = SIZE_MAX / 2;
    s->used = 0;
    s->loading = true;
    s->L = lua_newstate(allocate, s);
    if (s->L == NULL)
        return BARID_ENOMEM;
    *(struct script **)lua_getextraspace(s->L) = s;
    lua_pushcfunction(s->L, open_state);
    if (lua_pcall(s->L, 0, 0, 0) != LUA_OK) {
        script_deinit(s);
        return BARID_ENOMEM;
    }
    return 0;
}

void script_deinit(struct script *s)
{
    if (s->L != NULL)
        lua_close(s->L);
    s->L = NULL;
}

/* --- loading --------------------------------------------------------------------------------
 */

struct load {
    struct script *s;
    barid_slice text;
};

static int run_chunk(lua_State *L)
{
    struct load *load = lua_touserdata(L, 1);

    if (luaL_loadbufferx(L, load->text.p, load->text.n, load->s->chunk, "t") != LUA_OK)
        return lua_error(L);
    lua_getfield(L, LUA_REGISTRYINDEX, "barid.env");
    lua_setupvalue(L, -2, 1);
    lua_call(L, 0, 0);
    return 0;
}

static const char *base_name(const char *file)
{
    const char *slash = strrchr(file, '/');

    return slash != NULL ? slash + 1 : file;
}

int script_load(struct script *s, const char *file, barid_slice text, struct err *err)
{
    struct budget keep = s->budget;
    struct load load = {s, text};
    int status;

    snprintf(s->chunk, sizeof(s->chunk), "@%s", base_name(file));
    if (text.n > 0 && text.p[0] == LUA_SIGNATURE[0])
        return err_set(err, BARID_ESYNTAX,
                       "%s:1: this is compiled Lua: only source text is read", s->chunk + 1);
    s->budget.instructions = SCRIPT_LOAD_INSTRUCTIONS;
    s->budget.cpu_ms = s->load_cpu_ms > 0 ? s->load_cpu_ms : SCRIPT_LOAD_CPU_MS;
    if (text.p == NULL)
        load.text = BARID_S("");
    budget_begin(&s->budget, s->L);
    lua_pushcfunction(s->L, run_chunk);
    lua_pushlightuserdata(s->L, &load);
    status = lua_pcall(s->L, 1, 0, 0);
    budget_end(&s->budget, s->L);
    s->budget = keep;
    if (status == LUA_OK)
        return 0;
    if (status == LUA_ERRMEM)
        err_set(err, BARID_ENOMEM, "%s: not enough memory (limits.lua_memory)", s->chunk + 1);
    else
        err_set(err, BARID_ESYNTAX, "%s",
                lua_isstring(s->L, -1) ? lua_tostring(s->L, -1) : "error without a text");
    lua_settop(s->L, 0);
    return err != NULL ? err->code : BARID_ESYNTAX;
}

void script_freeze(struct script *s)
{
    s->loading = false;
}
