/*
 * policy/sandbox.c: what of the standard library a script finds. Left out, with the reason:
 *
 *   io, os.execute, os.exit, ...   a hook does not touch the system
 *   load, loadfile, dofile         code comes from the configuration's folder, by require
 *   debug, collectgarbage, _G      they reach around the budget, the memory cap and the freeze
 *   coroutine                      a hook is one already: functions that wait do so by
 * themselves string.dump                    bytecode is unverified
 *
 * Wrapped: setmetatable (no __gc: a finalizer runs where no hook can stop it), xpcall (so does
 * a message handler after a stop), print (to the log), os.time (our clock).
 */
#include <lualib.h>
#include <time.h>

#include "base/slice.h"
#include "policy/script.h"

static int safe_setmetatable(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, lua_isnoneornil(L, 2) || lua_istable(L, 2), 2, "nil or table");
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "cannot change a protected metatable");
    if (lua_istable(L, 2)) {
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL)
            return luaL_error(L, "__gc is not available");
        lua_pop(L, 1);
    }
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

/* A frozen table is protected by its metatable, which rawset would walk past. */
static int safe_rawset(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    luaL_checkany(L, 3);
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "cannot write into a protected table");
    lua_settop(L, 3);
    lua_rawset(L, 1);
    return 1;
}

/* Upvalue: the script's message handler. Lua calls it where hooks are off, so after a stop
 * nothing could end it. */
static int guarded_handler(lua_State *L)
{
    if (script_of(L)->budget.stopped)
        return 1;
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 1, 1);
    return 1;
}

static int xpcall_end(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    (void)ctx;
    return lua_gettop(L);
}

/* The original is upvalue 1. */
static int safe_xpcall(lua_State *L)
{
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushvalue(L, 2);
    lua_pushcclosure(L, guarded_handler, 1);
    lua_replace(L, 2);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_callk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, xpcall_end);
    return xpcall_end(L, LUA_OK, 0);
}

static int print(lua_State *L)
{
    char where[SCRIPT_WHERE_SIZE];
    luaL_Buffer b;
    int n = lua_gettop(L);

    script_where(L, 1, where);
    luaL_buffinit(L, &b);
    for (int i = 1; i <= n; i++) {
        if (i > 1)
            luaL_addchar(&b, ' ');
        luaL_tolstring(L, i, NULL);
        luaL_addvalue(&b);
    }
    luaL_pushresult(&b);
    log_record(script_of(L)->log, LOG_LEVEL_INFO, "script", "print",
               LOG_STR("text", script_slice(L, -1)), LOG_CSTR("where", where));
    return 0;
}

static int64_t now_s(lua_State *L)
{
    return clock_wall_us(script_of(L)->clock) / 1000000;
}

/* The original is upvalue 1. Without a table it is the present moment, by the server's clock.
 */
static int os_time(lua_State *L)
{
    if (lua_isnoneornil(L, 1)) {
        lua_pushinteger(L, now_s(L));
        return 1;
    }
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 1, 1);
    return 1;
}

static int os_date(lua_State *L)
{
    lua_settop(L, 2);
    if (lua_isnil(L, 1)) {
        lua_pushliteral(L, "%c");
        lua_replace(L, 1);
    }
    if (lua_isnil(L, 2)) {
        lua_pushinteger(L, now_s(L));
        lua_replace(L, 2);
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 2, 1);
    return 1;
}

/* stack: source, target: copy names (ended by NULL). */
static void copy(lua_State *L, const char *const *names)
{
    for (; *names != NULL; names++) {
        lua_getfield(L, -2, *names);
        lua_setfield(L, -2, *names);
    }
}

static void open_base(lua_State *L)
{
    static const char *const names[] = {"assert",   "error",        "ipairs",   "next",
                                        "pairs",    "pcall",        "select",   "tonumber",
                                        "tostring", "type",         "rawequal", "rawget",
                                        "rawlen",   "getmetatable", NULL};

    /* stack: store */
    luaL_requiref(L, LUA_GNAME, luaopen_base, 0);
    lua_pushvalue(L, -2);
    copy(L, names);
    lua_getfield(L, -2, "xpcall");
    lua_pushcclosure(L, safe_xpcall, 1);
    lua_setfield(L, -2, "xpcall");
    lua_pop(L, 2);
    lua_pushcfunction(L, safe_setmetatable);
    lua_setfield(L, -2, "setmetatable");
    lua_pushcfunction(L, safe_rawset);
    lua_setfield(L, -2, "rawset");
    lua_pushcfunction(L, print);
    lua_setfield(L, -2, "print");
    lua_pushliteral(L, "Lua 5.4");
    lua_setfield(L, -2, "_VERSION");
}

static void open_os(lua_State *L)
{
    static const char *const names[] = {"clock", "difftime", NULL};

    luaL_requiref(L, LUA_OSLIBNAME, luaopen_os, 0);
    lua_newtable(L);
    copy(L, names);
    lua_getfield(L, -2, "time");
    lua_pushcclosure(L, os_time, 1);
    lua_setfield(L, -2, "time");
    lua_getfield(L, -2, "date");
    lua_pushcclosure(L, os_date, 1);
    lua_setfield(L, -2, "date");
    lua_remove(L, -2);
    script_proxy(L, "os");
    lua_setfield(L, -2, "os");
}

void sandbox_open(lua_State *L)
{
    open_base(L);
    open_os(L);
    luaL_requiref(L, LUA_MATHLIBNAME, luaopen_math, 0);
    script_proxy(L, "math");
    lua_setfield(L, -2, "math");
    luaL_requiref(L, LUA_UTF8LIBNAME, luaopen_utf8, 0);
    script_proxy(L, "utf8");
    lua_setfield(L, -2, "utf8");
    sandbox_string(L);
    script_proxy(L, "string");
    lua_setfield(L, -2, "string");
    sandbox_table(L);
    script_proxy(L, "table");
    lua_setfield(L, -2, "table");
    /* Keep nothing of what luaL_requiref left in the registry: it holds the whole libraries. */
    lua_pushnil(L);
    lua_setfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
}
