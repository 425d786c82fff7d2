/*
 * policy/script.h: one Lua state that runs one configuration file: capped memory, a budget, a
 * sandbox whose globals are frozen after loading. Internal to src/policy; the only place where
 * Lua is set up.
 */
#ifndef POLICY_SCRIPT_H
#define POLICY_SCRIPT_H

#include <lauxlib.h>
#include <lua.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "policy/budget.h"
#include "policy/config.h"

struct declare;
struct engine;

/* Frozen tables are empty proxies in front of the real ones: registry keys of the pairs. */
struct script {
    lua_State *L;
    const barid_mem *mem;
    size_t used, max; /* octets of the state */
    struct budget budget;
    const struct log *log;
    const struct clock *clock;
    const struct config *config; /* NULL while it is being made */
    struct declare
        *declare; /* takes the declarations; NULL = they were taken before and are skipped */
    struct engine *engine; /* hooks; NULL = only checked */
    bool loading;
    uint32_t load_cpu_ms;       /* for evaluating the file; 0 = SCRIPT_LOAD_CPU_MS */
    const size_t *max_declared; /* unless NULL in place of max: the file that is evaluated may
                                   say what it needs */
    char chunk[256]; /* "@policy.lua": chunk name, so that messages say policy.lua:17 */
};

/* What a hook may do before it is stopped while the file itself is evaluated: start-up work
 * such as building tables. */
#define SCRIPT_LOAD_INSTRUCTIONS 100000000
#define SCRIPT_LOAD_CPU_MS       5000

/* Fills what is NULL in *s with a state and opens the sandbox. The fields mem, max, log, clock
 * are set before. 0 or BARID_ENOMEM. */
int script_init(struct script *s);
void script_deinit(struct script *s);

/* Compile text as the file's chunk and run it. On failure the message (with file:line) is in
 * err and BARID_ESYNTAX or ENOMEM returned. */
int script_load(struct script *s, const char *file, barid_slice text, struct err *err);
/* From now on globals cannot be written. */
void script_freeze(struct script *s);

static inline struct script *script_of(lua_State *L)
{
    return *(struct script **)lua_getextraspace(L);
}

/* "policy.lua:17" of the Lua function at level of the running stack ("" when unknown) into out.
 */
#define SCRIPT_WHERE_SIZE 280
void script_where(lua_State *L, int level, char out[SCRIPT_WHERE_SIZE]);

/* Lua strings and slices. */
static inline barid_slice script_slice(lua_State *L, int idx)
{
    size_t n;
    const char *p = lua_tolstring(L, idx, &n);
    return (barid_slice){p, n};
}
static inline void script_push(lua_State *L, barid_slice s)
{
    lua_pushlstring(L, s.n > 0 ? s.p : "", s.n);
}
barid_slice script_check_slice(lua_State *L, int arg);

/* --- sandbox.c, lua_string.c, lua_table.c: what a script finds ------------------------------
 */

/* Fills the table at the top of the stack with the safe part of the standard library. May
 * raise. */
void sandbox_open(lua_State *L);
void sandbox_string(lua_State *L); /* pushes the string library */
void sandbox_table(lua_State *L);  /* pushes the table library */

/* Replaces the table at the top by an empty one that reads through to it and cannot be written;
 * what names it in errors. Where the globals (the table below it) already hold a declaration of
 * that name, the proxy can be called like it. */
void script_proxy(lua_State *L, const char *what);

/* The nearest of names (ended by NULL) to word for "did you mean"; NULL when none is near. */
const char *script_nearest(const char *word, const char *const *names);

#endif
