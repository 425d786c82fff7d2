/* policy/pattern_compare.c: two Lua states, one with the standard string library, one with
 * ours. */
#include "policy/pattern_compare.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "policy/engine.h"

struct compare {
    lua_State *theirs;
    struct engine ours;
    int theirs_run, ours_run; /* the program, compiled, in each registry */
};

/* Everything as one text; an error as "error": the two word some differently. */
static const char program[] =
    "local s, p = ...\n"
    "local out = {}\n"
    "local function add(...) for i = 1, select('#', ...) do out[#out + 1] = "
    "tostring((select(i, ...))) end out[#out + 1] = ';' end\n"
    "local function safe(f, ...) local r = table.pack(pcall(f, ...)) if r[1] then "
    "add(table.unpack(r, 2, r.n)) "
    "else local m = tostring(r[2]) add('error', m:find('step limit', 1, true) and m or "
    "m:find('too complex', 1, true) and m) end end\n"
    "safe(string.find, s, p)\n"
    "safe(string.find, s, p, -3)\n"
    "safe(string.match, s, p, 2)\n"
    "safe(string.gsub, s, p, '<%0>')\n"
    "safe(string.gsub, s, p, '%1', 2)\n"
    "safe(string.gsub, s, p, { a = 'x', b = false })\n"
    "safe(function() for a, b in string.gmatch(s, p) do add(a, b) end end)\n"
    "return table.concat(out, ',')\n";

static int compile(lua_State *L, bool sandboxed)
{
    if (luaL_loadstring(L, program) != LUA_OK)
        abort();
    if (sandboxed) {
        lua_getfield(L, LUA_REGISTRYINDEX, "barid.env");
        lua_setupvalue(L, -2, 1);
    }
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

struct compare *compare_new(void)
{
    struct compare *c = calloc(1, sizeof(*c));

    if (c == NULL || (c->theirs = luaL_newstate()) == NULL)
        abort();
    luaL_openlibs(c->theirs);
    c->ours.script.engine = &c->ours;
    c->ours.script.clock = &clock_system;
    c->ours.script.budget.instructions = UINT64_MAX / 2;
    c->ours.script.budget.cpu_ms = 100000;
    if (script_init(&c->ours.script) < 0)
        abort();
    c->theirs_run = compile(c->theirs, false);
    c->ours_run = compile(c->ours.script.L, true);
    return c;
}

void compare_del(struct compare *c)
{
    lua_close(c->theirs);
    script_deinit(&c->ours.script);
    free(c);
}

/* The result stays on the stack of L. */
static const char *run(lua_State *L, int compiled, barid_slice subject, barid_slice pattern,
                       size_t *n_r)
{
    lua_settop(L, 0);
    lua_rawgeti(L, LUA_REGISTRYINDEX, compiled);
    lua_pushlstring(L, subject.n > 0 ? subject.p : "", subject.n);
    lua_pushlstring(L, pattern.n > 0 ? pattern.p : "", pattern.n);
    lua_pcall(L, 2, 1, 0); /* an error is a result, too */
    return lua_tolstring(L, -1, n_r);
}

/* Between two runs nothing is kept: a checker that compares allocations finds them equal. */
static void tidy(lua_State *L)
{
    lua_settop(L, 0);
    lua_gc(L, LUA_GCCOLLECT);
}

static bool same(struct compare *c, barid_slice subject, barid_slice pattern)
{
    size_t n = 0, m = 0;
    const char *ours, *theirs;

    budget_begin(&c->ours.script.budget, c->ours.script.L); /* of this run: millions follow */
    ours = run(c->ours.script.L, c->ours_run, subject, pattern, &n);
    budget_end(&c->ours.script.budget, c->ours.script.L);
    if (ours != NULL && memmem(ours, n, "step limit", 10) != NULL)
        return true;
    theirs = run(c->theirs, c->theirs_run, subject, pattern, &m);
    if (ours == NULL || theirs == NULL)
        return false;
    /* The depth that the C stack allows differs, and so may where it is noticed. */
    if (memmem(ours, n, "too complex", 11) != NULL ||
        memmem(theirs, m, "too complex", 11) != NULL)
        return true;
    return n == m && memcmp(ours, theirs, n) == 0;
}

bool compare_same(struct compare *c, barid_slice subject, barid_slice pattern)
{
    bool result = same(c, subject, pattern);

    tidy(c->ours.script.L);
    tidy(c->theirs);
    return result;
}
