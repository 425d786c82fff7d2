/*
 * policy/budget.c: a count hook that stops a script which computes too long.
 *
 * Once stopped, the hook stays armed with a count of one: a script that catches the error
 * (pcall) is stopped again at its next instruction, so the error always arrives at whoever
 * began the run.
 */
#include "policy/budget.h"

#include <time.h>

#include "policy/script.h"

/* Instructions between two looks at the clock: some 10 microseconds. */
#define COUNT 1000

static int64_t cpu_us(void)
{
    struct timespec t;

    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) != 0)
        return 1;
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void on_count(lua_State *L, lua_Debug *ar);

static void stop(struct budget *b, lua_State *L)
{
    bool time = b->used <= b->instructions;
    char where[SCRIPT_WHERE_SIZE];

    b->stopped = true;
    lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
    script_where(L, 0, where);
    if (time)
        lua_pushfstring(L, "%s: stopped: computed longer than limits.hook_cpu_ms (%d)", where,
                        (int)b->cpu_ms);
    else
        lua_pushfstring(L, "%s: stopped: more than limits.hook_instructions (%I)", where,
                        (LUAI_UACINT)b->instructions);
    lua_error(L);
}

static void look(struct budget *b, lua_State *L)
{
    if (b->started_us == 0)
        b->started_us = cpu_us();
    if (b->stopped || b->used > b->instructions ||
        cpu_us() - b->started_us > (int64_t)b->cpu_ms * 1000)
        stop(b, L);
}

static void on_count(lua_State *L, lua_Debug *ar)
{
    struct budget *b = &script_of(L)->budget;

    (void)ar;
    b->used += COUNT;
    look(b, L);
}

void budget_charge(lua_State *L, uint64_t units)
{
    struct budget *b = &script_of(L)->budget;

    b->used += units;
    if (units >= COUNT || b->used > b->instructions)
        look(b, L);
}

void budget_begin(struct budget *b, lua_State *L)
{
    budget_resume(b, L, 0);
}

void budget_resume(struct budget *b, lua_State *L, uint64_t used)
{
    int count = b->instructions < COUNT ? (int)b->instructions : COUNT;

    b->used = used;
    b->started_us = 0;
    b->stopped = false;
    /* A coroutine keeps its hook from run to run. Its count goes on from the last one, which
     * makes up to COUNT instructions too many: nothing, but where a limit is that small. */
    if (lua_gethook(L) != on_count || b->instructions < (uint64_t)COUNT * 100)
        lua_sethook(L, on_count, LUA_MASKCOUNT, count);
}

void budget_end(struct budget *b, lua_State *L)
{
    (void)b;
    lua_sethook(L, NULL, 0, 0);
}
