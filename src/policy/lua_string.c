/*
 * policy/lua_string.c: the string library, with find, match, gmatch, gsub and rep of our own:
 * the standard ones can run for hours, or take gigabytes, inside one call.
 */
#include <lualib.h>

#include "base/slice.h"
#include "policy/pattern.h"
#include "policy/script.h"

/* Steps of one call: some 10 ms. Ordinary patterns take a few per octet. */
#define STRING_STEPS   2000000
#define STRING_REP_MAX (16u << 20) /* octets */

/* 1-based, negative from the end -> offset, clamped to n + 1 (= beyond). */
static size_t start_offset(lua_Integer at, size_t n)
{
    if (at > 0)
        return (size_t)at - 1;
    if (at == 0 || (lua_Unsigned)-at > n)
        return 0;
    return n - (size_t)-at;
}

static void begin(lua_State *L, struct pattern *m)
{
    struct pattern fresh = {.steps = STRING_STEPS};

    *m = fresh;
    m->subject.p = luaL_checklstring(L, 1, &m->subject.n);
    m->text.p = luaL_checklstring(L, 2, &m->text.n);
}

static bool anchor(struct pattern *m)
{
    if (m->text.n == 0 || m->text.p[0] != '^')
        return false;
    m->text = slice_from(m->text, 1);
    return true;
}

/* pattern_at, with an error raised as an error of the script. */
static bool try_at(lua_State *L, struct pattern *m, size_t at, size_t *end_r)
{
    int rc = pattern_at(m, at, end_r);

    if (rc < 0)
        luaL_error(L, "%s", m->error);
    return rc > 0;
}

static void charge(lua_State *L, const struct pattern *m)
{
    budget_charge(L, (STRING_STEPS - m->steps) / 2);
}

static void push_capture(lua_State *L, const struct pattern *m, unsigned i)
{
    if (m->capture[i].n == PATTERN_UNFINISHED)
        luaL_error(L, "unfinished capture");
    if (m->capture[i].n == PATTERN_POSITION)
        lua_pushinteger(L, m->capture[i].p - m->subject.p + 1);
    else
        lua_pushlstring(L, m->capture[i].p, (size_t)m->capture[i].n);
}

/* All captures, or the whole match [from, to) when there is none. */
static int push_captures(lua_State *L, const struct pattern *m, size_t from, size_t to)
{
    if (m->n_captures == 0) {
        lua_pushlstring(L, m->subject.p + from, to - from);
        return 1;
    }
    luaL_checkstack(L, (int)m->n_captures, "too many captures");
    for (unsigned i = 0; i < m->n_captures; i++)
        push_capture(L, m, i);
    return (int)m->n_captures;
}

static int find_plain(lua_State *L, const struct pattern *m, size_t at)
{
    const char *hit = m->text.n == 0
                          ? m->subject.p + at
                          : memmem(m->subject.p + at, m->subject.n - at, m->text.p, m->text.n);

    budget_charge(L, m->subject.n / 64);
    if (hit == NULL) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushinteger(L, hit - m->subject.p + 1);
    lua_pushinteger(L, hit - m->subject.p + (lua_Integer)m->text.n);
    return 2;
}

static int search(lua_State *L, bool find)
{
    struct pattern m;
    size_t at, end;
    bool anchored;

    begin(L, &m);
    at = start_offset(luaL_optinteger(L, 3, 1), m.subject.n);
    if (at > m.subject.n) {
        lua_pushnil(L);
        return 1;
    }
    if (find && (lua_toboolean(L, 4) || pattern_is_plain(m.text)))
        return find_plain(L, &m, at);
    anchored = anchor(&m);
    do {
        if (!try_at(L, &m, at, &end))
            continue;
        charge(L, &m);
        if (!find)
            return push_captures(L, &m, at, end);
        lua_pushinteger(L, (lua_Integer)at + 1);
        lua_pushinteger(L, (lua_Integer)end);
        return 2 + (m.n_captures > 0 ? push_captures(L, &m, at, end) : 0);
    } while (++at <= m.subject.n && !anchored);
    charge(L, &m);
    lua_pushnil(L);
    return 1;
}

static int string_find(lua_State *L)
{
    return search(L, true);
}

static int string_match(lua_State *L)
{
    return search(L, false);
}

/* --- gmatch ---------------------------------------------------------------------------------
 */

/* Upvalues: subject, pattern, where to go on, end of the last match (or -1). */
static int gmatch_next(lua_State *L)
{
    struct pattern m = {.steps = STRING_STEPS};
    lua_Integer last = lua_tointeger(L, lua_upvalueindex(4));
    size_t end;

    m.subject = script_slice(L, lua_upvalueindex(1));
    m.text = script_slice(L, lua_upvalueindex(2));
    for (size_t at = (size_t)lua_tointeger(L, lua_upvalueindex(3)); at <= m.subject.n; at++) {
        if (!try_at(L, &m, at, &end) || (lua_Integer)end == last)
            continue; /* an empty match just behind the last one is none */
        lua_pushinteger(L, (lua_Integer)end);
        lua_pushvalue(L, -1);
        lua_replace(L, lua_upvalueindex(3));
        lua_replace(L, lua_upvalueindex(4));
        charge(L, &m);
        return push_captures(L, &m, at, end);
    }
    charge(L, &m);
    return 0;
}

static int string_gmatch(lua_State *L)
{
    size_t n, at;

    luaL_checklstring(L, 1, &n);
    luaL_checkstring(L, 2);
    at = start_offset(luaL_optinteger(L, 3, 1), n);
    if (at > n)
        at = n + 1;
    lua_settop(L, 2);
    lua_pushinteger(L, (lua_Integer)at);
    lua_pushinteger(L, -1);
    lua_pushcclosure(L, gmatch_next, 4);
    return 1;
}

/* --- gsub -----------------------------------------------------------------------------------
 */

/* The replacement string at index 3, with %0 to %9 filled in. */
static void add_template(lua_State *L, const struct pattern *m, luaL_Buffer *b, size_t from,
                         size_t to)
{
    barid_slice r = script_slice(L, 3);

    for (size_t i = 0; i < r.n; i++) {
        if (r.p[i] != '%') {
            luaL_addchar(b, r.p[i]);
            continue;
        }
        i++;
        if (i < r.n && r.p[i] == '%') {
            luaL_addchar(b, '%');
        } else if (i < r.n && r.p[i] == '0') {
            luaL_addlstring(b, m->subject.p + from, to - from);
        } else if (i < r.n && r.p[i] >= '1' && r.p[i] <= '9') {
            unsigned k = (unsigned)(r.p[i] - '1');
            if (k == 0 && m->n_captures == 0) {
                luaL_addlstring(b, m->subject.p + from, to - from);
                continue;
            }
            if (k >= m->n_captures)
                luaL_error(L, "invalid capture index %%%d in replacement string", (int)k + 1);
            push_capture(L, m, k);
            luaL_tolstring(L, -1, NULL);
            lua_remove(L, -2);
            luaL_addvalue(b);
        } else {
            luaL_error(L, "invalid use of '%%' in replacement string");
        }
    }
}

/* What stands for the match [from, to). True = it changed. */
static bool add_replacement(lua_State *L, const struct pattern *m, luaL_Buffer *b, size_t from,
                            size_t to)
{
    int type = lua_type(L, 3);

    if (type == LUA_TFUNCTION) {
        lua_pushvalue(L, 3);
        lua_call(L, push_captures(L, m, from, to), 1);
    } else if (type == LUA_TTABLE) {
        if (m->n_captures > 0)
            push_capture(L, m, 0);
        else
            lua_pushlstring(L, m->subject.p + from, to - from);
        lua_gettable(L, 3);
    } else {
        add_template(L, m, b, from, to);
        return true;
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        luaL_addlstring(b, m->subject.p + from, to - from);
        return false;
    }
    if (!lua_isstring(L, -1))
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    luaL_addvalue(b);
    return true;
}

static int string_gsub(lua_State *L)
{
    struct pattern m;
    size_t at = 0, end, last = SIZE_MAX;
    lua_Integer n = 0, max;
    int type = lua_type(L, 3);
    bool anchored, changed = false;
    luaL_Buffer b;

    begin(L, &m);
    max = luaL_optinteger(L, 4, (lua_Integer)m.subject.n + 1);
    luaL_argexpected(L,
                     type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION ||
                         type == LUA_TTABLE,
                     3, "string/function/table");
    if (type == LUA_TNUMBER)
        lua_tostring(L, 3);
    anchored = anchor(&m);
    luaL_buffinit(L, &b);
    while (n < max) {
        if (try_at(L, &m, at, &end) && end != last) {
            n++;
            changed = add_replacement(L, &m, &b, at, end) || changed;
            at = last = end;
        } else if (at < m.subject.n) {
            luaL_addchar(&b, m.subject.p[at++]);
        } else {
            break;
        }
        if (anchored)
            break;
    }
    charge(L, &m);
    luaL_addlstring(&b, m.subject.p + at, m.subject.n - at);
    luaL_pushresult(&b);
    if (!changed) {
        lua_pop(L, 1);
        lua_pushvalue(L, 1);
    }
    lua_pushinteger(L, n);
    return 2;
}

/* --- rep ------------------------------------------------------------------------------------
 */

static int string_rep(lua_State *L)
{
    size_t n, sep_n, total;
    const char *s = luaL_checklstring(L, 1, &n), *sep = luaL_optlstring(L, 3, "", &sep_n);
    lua_Integer count = luaL_checkinteger(L, 2);
    luaL_Buffer b;

    if (count <= 0 || n + sep_n == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    if (__builtin_mul_overflow(n + sep_n, (size_t)count, &total) || total > STRING_REP_MAX)
        return luaL_error(L, "string.rep: the result is longer than %d octets",
                          (int)STRING_REP_MAX);
    budget_charge(L, (uint64_t)count / 8 + total / 64);
    luaL_buffinitsize(L, &b, total);
    while (count-- > 0) {
        luaL_addlstring(&b, s, n);
        if (count > 0)
            luaL_addlstring(&b, sep, sep_n);
    }
    luaL_pushresult(&b);
    return 1;
}

/* Strings have methods, s:find(...), by a metatable that leads to the library's real table:
 * nobody may reach that. */
static void hide_metatable(lua_State *L)
{
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);
}

void sandbox_string(lua_State *L)
{
    static const luaL_Reg own[] = {{"find", string_find},     {"match", string_match},
                                   {"gmatch", string_gmatch}, {"gsub", string_gsub},
                                   {"rep", string_rep},       {NULL, NULL}};

    luaL_requiref(L, LUA_STRLIBNAME, luaopen_string, 0);
    luaL_setfuncs(L, own, 0);
    lua_pushnil(L);
    lua_setfield(L, -2, "dump");
    hide_metatable(L);
}
