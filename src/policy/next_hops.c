/* policy/next_hops.c: see next_hops.h. */
#include "policy/next_hops.h"

#include "base/slice.h"
#include "policy/script.h"

/* The text at index, canonical, onto the stack. */
static void push_one(lua_State *L, int index, const char *what)
{
    char text[HOP_TEXT_SIZE];
    struct err err = {0};
    struct arena arena;
    struct hop hop;
    size_t n = 0;
    int rc;

    if (lua_type(L, index) != LUA_TSTRING)
        luaL_error(L, "%s: a next hop is a text such as \"[mail.example.com]:25\", not a %s",
                   what, luaL_typename(L, index));
    hop_init(&hop);
    arena_init(&arena, script_of(L)->mem, 0);
    rc = hop_parse(&hop, &arena, script_slice(L, index), &err);
    if (rc == 0)
        n = hop_text(&hop, text);
    arena_deinit(&arena); /* before anything raises */
    if (rc == BARID_ENOMEM)
        luaL_error(L, "not enough memory");
    if (rc < 0)
        luaL_error(L, "%s: %s", what, err.text);
    lua_pushlstring(L, text, n);
}

/* Keys of the table at index: 1 to n, and pinned. */
static void check_keys(lua_State *L, int index, const char *what, bool *pinned_r)
{
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        if (lua_isinteger(L, -2) && lua_tointeger(L, -2) >= 1 &&
            lua_tointeger(L, -2) <= (lua_Integer)lua_rawlen(L, index))
            continue;
        if (pinned_r == NULL || lua_type(L, -2) != LUA_TSTRING ||
            strcmp(lua_tostring(L, -2), "pinned") != 0)
            luaL_error(L, "%s: unknown key '%s'%s", what, luaL_tolstring(L, -2, NULL),
                       pinned_r != NULL ? ", there is pinned" : "");
        else if (!lua_isboolean(L, -1))
            luaL_error(L, "%s: pinned is true or false, not a %s", what, luaL_typename(L, -1));
        else
            *pinned_r = lua_toboolean(L, -1);
    }
}

static void check_count(lua_State *L, lua_Integer n, const char *what)
{
    if (n == 0)
        luaL_error(L, "%s: at least one next hop is expected", what);
    if (n > HOP_LIST_MAX)
        luaL_error(L, "%s: at most %d next hops are tried, here are %I", what, HOP_LIST_MAX, n);
}

barid_slice next_hops_check(lua_State *L, int first, const char *what, bool *pinned_r)
{
    bool in_table = lua_istable(L, first);
    lua_Integer n = in_table ? (lua_Integer)lua_rawlen(L, first) : lua_gettop(L) - first + 1;

    if (in_table && lua_gettop(L) > first)
        luaL_error(L, "%s: one table, or texts, not both", what);
    if (in_table)
        check_keys(L, first, what, pinned_r);
    check_count(L, n, what);
    luaL_checkstack(L, 2 * HOP_LIST_MAX + 4, what);
    for (int i = 0; i < n; i++) {
        if (i > 0)
            lua_pushliteral(L, " ");
        if (in_table)
            lua_rawgeti(L, first, i + 1);
        push_one(L, in_table ? -1 : first + i, what);
        if (in_table)
            lua_remove(L, -2);
    }
    lua_concat(L, (int)(2 * n - 1));
    return script_slice(L, -1);
}

int next_hops_read(barid_slice list, const struct hop *base, struct arena *arena, struct hop **hops_r)
{
    struct hop *hops = arena_alloc(arena, HOP_LIST_MAX * sizeof(*hops));
    struct err err = {0};
    barid_slice text;
    int n = 0;

    if (hops == NULL)
        return BARID_ENOMEM;
    while (n < HOP_LIST_MAX && hop_list_next(&list, &text)) {
        if (hop_copy(&hops[n], arena, base) < 0 || hop_parse(&hops[n], arena, text, &err) < 0)
            return BARID_ENOMEM; /* the text was parsed before: nothing else is left */
        n++;
    }
    *hops_r = hops;
    return n;
}
