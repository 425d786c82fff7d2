/*
 * policy/verdict_delivery.c: the answers of hooks of delivery: send, again, done, fail.
 *
 * What they say beside their kind is kept as text and read when the hook has answered: a verdict may be made at the top of the
 * file, where there is no mail and "+10m" means nothing yet.
 */
#include "base/slice.h"
#include "policy/next_hops.h"
#include "policy/verdict_int.h"

#define TIME_END 253402300800.0 /* year 10000 */

/*** @function send(hop, ...)
 * Answers `on.route`: these next hops, tried in order, in place of the default. A text is
 * "example.com" (the mail exchangers of a domain), "[mail.example.com]:587" (that host),
 * "[192.0.2.1]", "[IPv6:2001:db8::1]:25", "lmtp:[host]:24" or "lmtp:unix:/path". Or one table:
 * `send { "[a.example]", "[b.example]" }`. They begin as the declaration `relay` says; what belongs
 * to a relay host (user, password) does not go with them; `on.relay` can set it.
 * @param {string|table} hop at most 8
 * @return {verdict}
 */
static int send(lua_State *L)
{
    struct given g = {.events = BARID_EVENT_BIT(BARID_EVENT_ROUTE), .name = "send"};

    g.about = next_hops_check(L, 1, "send", NULL);
    return verdict_make(L, BARID_ACCEPT, &g);
}

/* The value at index as a point in time. */
static void take_time(lua_State *L, int index, struct given *g)
{
    lua_Number seconds;
    int64_t until;

    if (lua_type(L, index) == LUA_TNUMBER) {
        seconds = lua_tonumber(L, index);
        if (!(seconds >= 1 && seconds < TIME_END))
            luaL_error(L, "again: %f is no time", seconds);
        g->at_us = (int64_t)(seconds * 1e6);
        return;
    }
    if (lua_type(L, index) == LUA_TSTRING)
        g->about = script_slice(L, index);
    if (g->about.n == 0 || delay_parse(g->about, 0, &until) < 0)
        luaL_error(
            L,
            "again: '%s' is no time, write \"+10m\", seconds since 1970, or a date as in a "
            "Date field",
            luaL_tolstring(L, index, NULL));
}

/* { at = TIME, rate_limited = FLAG } */
static void take_again(lua_State *L, struct given *g)
{
    for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";

        if (strcmp(key, "at") == 0)
            take_time(L, lua_gettop(L), g); /* the table keeps the text */
        else if (strcmp(key, "rate_limited") != 0)
            luaL_error(L, "again: unknown key '%s', there are at and rate_limited", key);
        else if (!lua_isboolean(L, -1))
            luaL_error(L, "again: rate_limited is true or false, not a %s",
                       luaL_typename(L, -1));
        else
            g->limited = lua_toboolean(L, -1);
    }
}

/*** @function again([when])
 * Answers `on.attempt`: tried again, not before `when`; without it, by the schedule. Or a table:
 * `again { at = "+10m", rate_limited = true }`; rate_limited: the attempt is not counted.
 * @param {number|string|table} when seconds since 1970, a date as in a Date field, or "+10m", "+1h
 * 30m", "+45s" from now
 * @return {verdict}
 */
static int again(lua_State *L)
{
    struct given g = {.events = BARID_EVENT_BIT(BARID_EVENT_ATTEMPT), .name = "again"};

    if (lua_gettop(L) > 1)
        return luaL_error(L, "again: too many arguments, (when) is expected");
    if (lua_istable(L, 1))
        take_again(L, &g);
    else if (!lua_isnoneornil(L, 1))
        take_time(L, 1, &g);
    return verdict_make(L, BARID_TEMPFAIL, &g);
}

/*** @function done()
 * Answers `on.attempt`: the mail counts as delivered to these recipients, whatever the server said.
 * @return {verdict}
 */
static int done(lua_State *L)
{
    struct given g = {.events = BARID_EVENT_BIT(BARID_EVENT_ATTEMPT), .name = "done"};

    if (lua_gettop(L) > 0)
        return luaL_error(L, "done: no arguments are expected");
    return verdict_make(L, BARID_ACCEPT, &g);
}

/*** @function fail([code,] [enhanced,] [text])
 * Answers `on.route`, `on.relay` and `on.attempt`: not tried again, the sender is told. The same
 * as reject.
 * @param {number} code 500 to 599
 * @param {string} enhanced such as "5.4.4"
 * @param {string} text
 * @return {verdict}
 */
static int fail(lua_State *L)
{
    struct given g = {.events = BARID_EVENT_BIT(BARID_EVENT_ROUTE) |
                                BARID_EVENT_BIT(BARID_EVENT_RELAY) |
                                BARID_EVENT_BIT(BARID_EVENT_ATTEMPT),
                      .name = "fail"};

    verdict_take_reply(L, &g, "fail", 500, 599);
    return verdict_make(L, BARID_REJECT, &g);
}

void verdict_open_delivery(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"send", send}, {"again", again}, {"done", done}, {"fail", fail}, {NULL, NULL}};

    luaL_setfuncs(L, functions, 0);
}

/* --- taking it ------------------------------------------------------------------------------
 */

static void take_hops(lua_State *L, const struct verdict *v, struct policy_route *route)
{
    struct hop *hops;
    int n = next_hops_read(verdict_about(v), route->base, route->arena, &hops);

    if (n < 0) {
        luaL_error(L, "not enough memory");
        return;
    }
    route->hops = hops;
    route->n_hops = (size_t)n;
}

void verdict_take_delivery(lua_State *L, const struct verdict *v, struct thread *t)
{
    struct policy_call *call = t->call;

    if (v->events == 0)
        return;
    if (call->event == BARID_EVENT_ROUTE && v->kind == BARID_ACCEPT)
        take_hops(L, v, call->route);
    if (call->event == BARID_EVENT_ATTEMPT && v->kind == BARID_TEMPFAIL) {
        call->attempt->again_limited = v->limited;
        call->attempt->again_us = v->at_us;
        if (v->about_n > 0)
            delay_parse(verdict_about(v), clock_wall_us(script_of(L)->clock),
                        &call->attempt->again_us); /* it was parsed before */
    }
}
