/*
 * policy/verdict.c: the answers of hooks: accept, reject, tempfail, discard, quarantine, hold,
 * disconnect. Those of delivery are in verdict_delivery.c.
 *
 * A verdict is an immutable value: it may be made at the top of the file and returned often. It
 * remembers where it was made, which is what the explain trace shows.
 */
#include <stdio.h>

#include "base/mem.h"
#include "base/slice.h"
#include "policy/engine.h"
#include "policy/verdict_int.h"

static const char *verdict_bytes(const struct verdict *v)
{
    return (const char *)(v + 1);
}

barid_slice verdict_about(const struct verdict *v)
{
    return slice_of(verdict_bytes(v) + v->text_n + v->secret_n + v->user_n, v->about_n);
}

/* --- what was given -------------------------------------------------------------------------
 */

/* RFC 3463 2: class "." subject "." detail, 1 to 3 digits each. */
static bool enhanced_valid(barid_slice s, int class)
{
    size_t dots = 0, digits = 0;

    if (s.n < 5 || s.n > ENHANCED_MAX || s.p[0] != '0' + class || s.p[1] != '.')
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '.') {
            if (digits == 0)
                return false;
            dots++;
            digits = 0;
        } else if (s.p[i] < '0' || s.p[i] > '9' || ++digits > 3) {
            return false;
        }
    }
    return dots == 2 && digits > 0;
}

/* ([code,] [enhanced,] [text]): a number, then strings; a string that looks like "5.7.1" is the
 * enhanced code. */
void verdict_take_reply(lua_State *L, struct given *g, const char *name, int low, int high)
{
    int arg = 1, n = lua_gettop(L);

    if (n >= 1 && lua_type(L, 1) == LUA_TNUMBER) {
        g->code = luaL_checkinteger(L, arg++);
        if (g->code < low || g->code > high)
            luaL_error(L, "%s: the code %I is out of range, %d to %d is allowed", name, g->code,
                       low, high);
    }
    if (n >= arg + 1 || (n == arg && lua_type(L, arg) == LUA_TSTRING &&
                         enhanced_valid(script_slice(L, arg), low / 100))) {
        g->enhanced = lua_isnil(L, arg) ? (barid_slice){0} : script_check_slice(L, arg);
        if (g->enhanced.n > 0 && !enhanced_valid(g->enhanced, low / 100) &&
            !(high >= 500 && low < 500 && enhanced_valid(g->enhanced, 5)))
            luaL_error(L, "%s: '%s' is no enhanced code, write \"%d.7.1\"", name,
                       lua_tostring(L, arg), low / 100);
        arg++;
    }
    if (n >= arg && !lua_isnil(L, arg))
        g->text = script_check_slice(L, arg);
    if (n > arg)
        luaL_error(L, "%s: too many arguments, ([code,] [enhanced,] text) is expected", name);
    if (g->text.n > VERDICT_TEXT_MAX)
        luaL_error(L, "%s: the text is longer than %d octets", name, VERDICT_TEXT_MAX);
}

static void take_reason(lua_State *L, struct given *g, const char *name)
{
    if (lua_gettop(L) > 1)
        luaL_error(L, "%s: too many arguments, (reason) is expected", name);
    if (!lua_isnoneornil(L, 1))
        g->text = script_check_slice(L, 1);
    if (g->text.n > VERDICT_TEXT_MAX)
        luaL_error(L, "%s: the reason is longer than %d octets", name, VERDICT_TEXT_MAX);
}

int verdict_make(lua_State *L, enum barid_verdict_kind kind, const struct given *g)
{
    size_t extra = g->text.n + g->secret.n + g->user.n + g->about.n;
    struct verdict *v = object_new(L, CLASS_VERDICT, sizeof(*v) + extra, 0);
    char *p = (char *)(v + 1);
    lua_Debug ar;

    v->object.p = v;
    v->kind = kind;
    v->code = (uint16_t)g->code;
    v->silent = g->silent;
    v->secret_kind = g->secret_kind;
    memcpy(v->enhanced, g->enhanced.n > 0 ? g->enhanced.p : "", g->enhanced.n);
    v->text_n = g->text.n;
    v->secret_n = g->secret.n;
    v->user_n = g->user.n;
    v->about_n = g->about.n;
    v->events = g->events;
    v->name = g->name;
    v->limited = g->limited;
    v->at_us = g->at_us;
    if (g->text.n > 0)
        memcpy(p, g->text.p, g->text.n);
    if (g->secret.n > 0)
        memcpy(p + g->text.n, g->secret.p, g->secret.n);
    if (g->user.n > 0)
        memcpy(p + g->text.n + g->secret.n, g->user.p, g->user.n);
    if (g->about.n > 0)
        memcpy(p + extra - g->about.n, g->about.p, g->about.n);
    if (lua_getstack(L, 1, &ar) && lua_getinfo(L, "Sl", &ar) && ar.currentline > 0)
        snprintf(v->where, sizeof(v->where), "%.50s:%d", ar.short_src, ar.currentline);
    return 1;
}

/* --- the constructors -----------------------------------------------------------------------
 */

static barid_slice text_field(lua_State *L, const char *name)
{
    barid_slice s = {0};

    if (lua_getfield(L, 1, name) != LUA_TNIL) {
        if (lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "accept: %s must be a string", name);
        s = script_slice(L, -1); /* the table keeps it */
        if (s.n == 0 || s.n > VERDICT_SECRET_MAX)
            luaL_error(L, "accept: %s must have 1 to %d octets", name, VERDICT_SECRET_MAX);
    }
    lua_pop(L, 1);
    return s;
}

/* accept { secret = ..., verifier = ..., user = ... } */
static void take_login(lua_State *L, struct given *g)
{
    barid_slice secret, verifier;

    lua_settop(L, 1);
    for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        if (strcmp(key, "secret") != 0 && strcmp(key, "verifier") != 0 &&
            strcmp(key, "user") != 0)
            luaL_error(L, "accept: unknown key '%s', there are secret, verifier and user", key);
    }
    secret = text_field(L, "secret");
    verifier = text_field(L, "verifier");
    g->user = text_field(L, "user");
    if (secret.n > 0 && verifier.n > 0)
        luaL_error(L, "accept: secret or verifier, not both");
    g->secret_kind = secret.n > 0     ? BARID_SECRET_PLAIN
                     : verifier.n > 0 ? BARID_SECRET_VERIFIER
                                      : BARID_SECRET_NONE;
    g->secret = secret.n > 0 ? secret : verifier;
}

/*** @function accept([code,] [enhanced,] [text])
 * In favour, and the end of this event: later handlers are not asked. The text replaces that of
 * the reply where there is one. It never bypasses the relay check.
 *
 * In `on.auth` it may be given a table: `accept { secret = TEXT }` (the password itself:
 * CRAM-MD5, SCRAM, PLAIN, LOGIN), `accept { verifier = "SCRAM-SHA-256$..." }` (as `barid
 * passwd` stores it: SCRAM, PLAIN, LOGIN), each with an optional `user = NAME`, the identity
 * that was authenticated. With PLAIN and LOGIN a plain `accept()` means that the password is
 * right; with a secret or verifier the server compares. For an unknown user return `reject()`:
 * client and clock see no difference.
 * @param {number} code 200 to 299
 * @param {string} enhanced such as "2.1.5"
 * @param {string} text
 * @return {verdict}
 */
static int accept(lua_State *L)
{
    struct given g = {0};

    if (lua_istable(L, 1))
        take_login(L, &g);
    else
        verdict_take_reply(L, &g, "accept", 200, 299);
    return verdict_make(L, BARID_ACCEPT, &g);
}

/*** @function reject([code,] [enhanced,] [text])
 * Refuses for good.
 * @param {number} code 500 to 599; the event's own by default
 * @param {string} enhanced such as "5.7.1"
 * @param {string} text several lines are separated by "\n"
 * @return {verdict}
 */
static int reject(lua_State *L)
{
    struct given g = {0};

    verdict_take_reply(L, &g, "reject", 500, 599);
    return verdict_make(L, BARID_REJECT, &g);
}

/*** @function tempfail([code,] [enhanced,] [text])
 * Refuses for now: the client may try again.
 * @param {number} code 400 to 499
 * @param {string} enhanced such as "4.7.1"
 * @param {string} text
 * @return {verdict}
 */
static int tempfail(lua_State *L)
{
    struct given g = {0};

    verdict_take_reply(L, &g, "tempfail", 400, 499);
    return verdict_make(L, BARID_TEMPFAIL, &g);
}

/*** @function discard([reason])
 * Accepted to the client, then thrown away; the log and the trace say so.
 * @param {string} reason
 * @return {verdict}
 */
static int discard(lua_State *L)
{
    struct given g = {0};

    take_reason(L, &g, "discard");
    return verdict_make(L, BARID_DISCARD, &g);
}

/*** @function quarantine([reason])
 * Accepted, stored, not delivered, marked as quarantined.
 * @param {string} reason
 * @return {verdict}
 */
static int quarantine(lua_State *L)
{
    struct given g = {0};

    take_reason(L, &g, "quarantine");
    return verdict_make(L, BARID_QUARANTINE, &g);
}

/*** @function hold([reason])
 * Accepted, stored, not delivered until somebody releases it.
 * @param {string} reason
 * @return {verdict}
 */
static int hold(lua_State *L)
{
    struct given g = {0};

    take_reason(L, &g, "hold");
    return verdict_make(L, BARID_HOLD, &g);
}

/*** @function disconnect([code,] [enhanced,] [text])
 * Closes the connection with 421 or the given reply; `disconnect { silent = true }` closes
 * without a word.
 * @param {number} code 400 to 599; 554 by default when the enhanced code begins with 5
 * @param {string} enhanced
 * @param {string} text
 * @return {verdict}
 */
static int disconnect(lua_State *L)
{
    struct given g = {0};

    if (lua_istable(L, 1)) {
        lua_settop(L, 1);
        for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1)) {
            if (lua_type(L, -2) != LUA_TSTRING || strcmp(lua_tostring(L, -2), "silent") != 0)
                return luaL_error(L, "disconnect: unknown key, there is silent");
            g.silent = lua_toboolean(L, -1);
        }
    } else {
        verdict_take_reply(L, &g, "disconnect", 400, 599);
        /* The default of 421 would not fit the enhanced code. */
        if (g.code == 0 && g.enhanced.n > 0 && g.enhanced.p[0] == '5')
            g.code = 554;
    }
    return verdict_make(L, BARID_DISCONNECT, &g);
}

/* --- fields ---------------------------------------------------------------------------------
 */

static int get_kind(lua_State *L, struct object *o)
{
    lua_pushstring(L, barid_verdict_name(((struct verdict *)o)->kind));
    return 1;
}

static int get_code(lua_State *L, struct object *o)
{
    const struct verdict *v = (struct verdict *)o;

    if (v->code != 0)
        lua_pushinteger(L, v->code);
    else
        lua_pushnil(L);
    return 1;
}

static int get_text(lua_State *L, struct object *o)
{
    const struct verdict *v = (struct verdict *)o;

    lua_pushlstring(L, verdict_bytes(v), v->text_n);
    return 1;
}

/*** @class verdict
 * What a hook answers with. Made by accept, reject, tempfail, discard, quarantine, hold,
 * disconnect, and for delivery send, again, done, fail; cannot be changed.
 * @field {string} kind "accept", "reject", ... (read-only)
 * @field {number} code the reply code, nil = the event's own (read-only)
 * @field {string} text (read-only)
 */
static const struct field fields[] = {
    {"kind", .get = get_kind}, {"code", .get = get_code}, {"text", .get = get_text}, {NULL}};
const struct class verdict_class = {.name = "verdict", .id = CLASS_VERDICT, .fields = fields};

/* --- taking it ------------------------------------------------------------------------------
 */

/* Room that lives until the session's next question. */
static char *text_room(lua_State *L, struct thread *t, size_t n)
{
    struct engine *e = t->engine;
    char **p = t->own_session ? &e->text : &t->session->text, *bigger;
    size_t *cap = t->own_session ? &e->text_cap : &t->session->text_cap;

    if (*cap >= n)
        return *p;
    bigger = mem_realloc(e->script.mem, *p, n);
    if (bigger == NULL)
        luaL_error(L, "not enough memory");
    *p = bigger;
    *cap = n;
    return bigger;
}

void verdict_take(lua_State *L, int index, struct thread *t)
{
    const struct verdict *v = (struct verdict *)object_test(L, index, &verdict_class);
    barid_verdict *out = &t->call->verdict;
    size_t enhanced_n, where_n, n;
    char *p;

    if (v == NULL) {
        luaL_error(
            L, "%s returned a %s, a hook returns nothing or a verdict such as reject(\"text\")",
            t->hook->name, luaL_typename(L, index));
        return;
    }
    if (v->events != 0 && (v->events & BARID_EVENT_BIT(t->hook->event)) == 0) {
        luaL_error(L, "%s: %s(...) is no answer to this event", t->hook->name, v->name);
        return;
    }
    enhanced_n = strlen(v->enhanced);
    where_n = strlen(v->where);
    n = v->text_n + v->secret_n + v->user_n;
    p = text_room(L, t, n + enhanced_n + where_n + 1);
    verdict_take_delivery(L, v, t); /* nothing fails behind it */
    memcpy(p, verdict_bytes(v), n);
    memcpy(p + n, v->enhanced, enhanced_n);
    memcpy(p + n + enhanced_n, v->where, where_n);
    *out = (barid_verdict){
        .kind = v->kind,
        .code = v->code,
        .silent = v->silent,
        .text = slice_of(p, v->text_n),
        .secret_kind = v->secret_kind,
        .secret = slice_of(p + v->text_n, v->secret_n),
        .user = slice_of(p + v->text_n + v->secret_n, v->user_n),
        .enhanced = slice_of(p + n, enhanced_n),
    };
    t->call->where = slice_of(p + n + enhanced_n, where_n);
}

void verdict_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"accept", accept},         {"reject", reject},
                                         {"tempfail", tempfail},     {"discard", discard},
                                         {"quarantine", quarantine}, {"hold", hold},
                                         {"disconnect", disconnect}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    verdict_open_delivery(L);
}
