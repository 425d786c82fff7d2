/*
 * policy/lib_shared.c: shared: the table that all workers see.
 */
#include "base/slice.h"
#include "policy/engine.h"
#include "policy/shared.h"

#define KEY_MAX   1024
#define VALUE_MAX 65536

static struct shared *shared_of(lua_State *L)
{
    struct shared *s = engine_of(L)->services.shared;

    if (s == NULL)
        luaL_error(L, "shared: there is no shared table here");
    return s;
}

static barid_slice check_key(lua_State *L)
{
    barid_slice key = script_check_slice(L, 1);

    luaL_argcheck(L, key.n <= KEY_MAX, 1, "keys have at most 1024 octets");
    return key;
}

/* Seconds, fractions too; nothing = for ever. */
static uint64_t check_ttl(lua_State *L, int arg)
{
    lua_Number s = luaL_optnumber(L, arg, 0);

    luaL_argcheck(L, lua_isnoneornil(L, arg) || (s > 0 && s <= 1e9), arg,
                  "seconds above 0 are expected");
    return s > 0 && s < 0.001 ? 1 : (uint64_t)(s * 1000);
}

static void check_stored(lua_State *L, int rc)
{
    if (rc == BARID_EFULL)
        luaL_error(L, "shared: the table is full");
    check_rc(L, rc, "shared");
}

/*** @function shared.get(key)
 * @param {string} key
 * @return {any} nil when there is none, or its time is over
 */
static int get(lua_State *L)
{
    struct shared *s = shared_of(L);
    struct var v;
    int rc = shared_get(s, check_key(L), &engine_of(L)->scratch, &v);

    if (rc == BARID_ENOTFOUND) {
        lua_pushnil(L);
        return 1;
    }
    check_rc(L, rc, "shared.get");
    if (v.type == VAR_BOOL)
        lua_pushboolean(L, v.flag);
    else if (v.type == VAR_INT)
        lua_pushinteger(L, v.num);
    else if (v.type == VAR_NUM)
        lua_pushnumber(L, v.real);
    else
        script_push(L, v.str);
    return 1;
}

/*** @function shared.set(key, value, [seconds])
 * Keeps a text, number or truth value for all workers; nil removes it. It does not survive a
 * restart.
 * @param {string} key at most 1024 octets
 * @param {any} value at most 65,536 octets
 * @param {number} seconds how long; for ever by default
 */
static int set(lua_State *L)
{
    struct shared *s = shared_of(L);
    struct var v = {.key = check_key(L)};
    uint64_t ttl = check_ttl(L, 3);

    switch (lua_type(L, 2)) {
    case LUA_TNIL:
    case LUA_TNONE:
        shared_remove(s, v.key);
        return 0;
    case LUA_TBOOLEAN:
        v.type = VAR_BOOL;
        v.flag = lua_toboolean(L, 2);
        break;
    case LUA_TNUMBER:
        v.type = lua_isinteger(L, 2) ? VAR_INT : VAR_NUM;
        v.num = lua_tointeger(L, 2);
        v.real = lua_tonumber(L, 2);
        break;
    case LUA_TSTRING:
        v.type = VAR_STR;
        v.str = script_slice(L, 2);
        luaL_argcheck(L, v.str.n <= VALUE_MAX, 2, "values have at most 65536 octets");
        break;
    default:
        return luaL_error(L, "shared.set: a text, number or truth value can be kept, not a %s",
                          luaL_typename(L, 2));
    }
    check_stored(L, shared_set(s, &v, ttl));
    return 0;
}

/*** @function shared.add(key, [delta], [seconds])
 * Adds to a whole number in one step; absent counts as 0.
 * @param {string} key
 * @param {number} delta 1 by default
 * @param {number} seconds how long, counted from when it is made; for ever by default
 * @return {number} the new value
 */
static int add(lua_State *L)
{
    struct shared *s = shared_of(L);
    barid_slice key = check_key(L);
    int64_t value = 0;
    int rc = shared_add(s, key, luaL_optinteger(L, 2, 1), check_ttl(L, 3), &value);

    if (rc == BARID_EINVALID)
        return luaL_error(L, "shared.add: '%s' holds no whole number", lua_tostring(L, 1));
    check_stored(L, rc);
    lua_pushinteger(L, value);
    return 1;
}

/*** @function shared.remove(key)
 * @param {string} key
 */
static int remove_key(lua_State *L)
{
    shared_remove(shared_of(L), check_key(L));
    return 0;
}

void shared_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"get", get}, {"set", set}, {"add", add}, {"remove", remove_key}, {NULL, NULL}};

    luaL_newlib(L, functions);
    script_proxy(L, "shared");
    lua_setfield(L, -2, "shared");
}
