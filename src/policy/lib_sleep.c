/*
 * policy/lib_sleep.c: sleep(ms): the hook waits, only its session does.
 */
#include "io/timer.h"
#include "policy/engine.h"

#define SLEEP_MAX_MS 3600000 /* an hour; limits.hook_ms ends it earlier by default */

static int woken(lua_State *L, int status, lua_KContext ctx)
{
    (void)L;
    (void)status;
    (void)ctx;
    return 0;
}

static void on_time(void *user)
{
    struct thread *t = user;

    timer_del(&t->timer);
    engine_resume(t, NULL);
}

static void cancel(struct thread *t)
{
    timer_del(&t->timer);
}

/*** @function sleep(milliseconds)
 * Waits. limits.hook_ms is the most that a hook may wait altogether.
 * @param {number} milliseconds
 */
static int lua_sleep(lua_State *L)
{
    struct thread *t = engine_running(L, "sleep");
    lua_Integer ms = luaL_checkinteger(L, 1);
    struct loop *loop = engine_of(L)->services.loop;

    luaL_argcheck(L, ms >= 0 && ms <= SLEEP_MAX_MS, 1, "0 to 3600000 is allowed");
    engine_can_wait(L, "sleep");
    if (loop == NULL)
        return luaL_error(L, "sleep: there is no loop here");
    t->timer = timer_new(loop, on_time, t);
    if (t->timer == NULL)
        return luaL_error(L, "not enough memory");
    t->cancel = cancel;
    timer_set(t->timer, loop_now_ms(loop) + (uint64_t)ms);
    return engine_wait(L, t, woken);
}

void sleep_open(lua_State *L)
{
    lua_pushcfunction(L, lua_sleep);
    lua_setfield(L, -2, "sleep");
}
