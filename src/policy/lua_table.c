/*
 * policy/lua_table.c: the table library, with bounds on what runs inside C where no budget sees
 * it.
 */
#include <lualib.h>

#include "policy/script.h"

#define TABLE_SORT_MAX   100000      /* elements: some 50 ms inside one call */
#define TABLE_MOVE_MAX   1000000     /* elements */
#define TABLE_CONCAT_MAX (64u << 20) /* octets: as much as a large mail */

/* The original is upvalue 1. */
static int call_original(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

static int sort(lua_State *L)
{
    lua_Integer n;

    luaL_checktype(L, 1, LUA_TTABLE);
    n = luaL_len(L, 1);
    if (n > TABLE_SORT_MAX)
        return luaL_error(L, "table.sort: %I elements are too many (limit %d)", n,
                          TABLE_SORT_MAX);
    budget_charge(L, (uint64_t)(n > 0 ? n : 0));
    return call_original(L);
}

static int move(lua_State *L)
{
    lua_Integer from = luaL_checkinteger(L, 2), to = luaL_checkinteger(L, 3);

    if (from <= to && (lua_Unsigned)to - (lua_Unsigned)from >= TABLE_MOVE_MAX)
        return luaL_error(L, "table.move: the range is too long (limit %d)", TABLE_MOVE_MAX);
    budget_charge(L, from <= to ? (uint64_t)(to - from) : 0);
    return call_original(L);
}

static int concat(lua_State *L)
{
    size_t sep_n, total = 0;
    const char *sep = luaL_optlstring(L, 2, "", &sep_n);
    lua_Integer first = luaL_optinteger(L, 3, 1), last;
    luaL_Buffer b;

    luaL_checktype(L, 1, LUA_TTABLE);
    last = lua_isnoneornil(L, 4) ? luaL_len(L, 1) : luaL_checkinteger(L, 4);
    luaL_buffinit(L, &b);
    for (lua_Integer i = first; i <= last; i++) {
        size_t n;
        lua_geti(L, 1, i);
        if (!lua_isstring(L, -1))
            return luaL_error(L, "invalid value (at index %I) in table for 'concat'", i);
        lua_tolstring(L, -1, &n);
        total += n + sep_n;
        if (total > TABLE_CONCAT_MAX)
            return luaL_error(L, "table.concat: the result is longer than %d octets",
                              (int)TABLE_CONCAT_MAX);
        luaL_addvalue(&b);
        if (i < last)
            luaL_addlstring(&b, sep, sep_n);
        if (i == LUA_MAXINTEGER)
            break;
    }
    luaL_pushresult(&b);
    budget_charge(L, (uint64_t)(last > first ? last - first : 0) + total / 64);
    return 1;
}

static void wrap(lua_State *L, const char *name, lua_CFunction fn)
{
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, fn, 1);
    lua_setfield(L, -2, name);
}

void sandbox_table(lua_State *L)
{
    luaL_requiref(L, LUA_TABLIBNAME, luaopen_table, 0);
    wrap(L, "sort", sort);
    wrap(L, "move", move);
    wrap(L, "concat", concat);
}
