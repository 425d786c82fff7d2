/*
 * policy/class_result.c: result, what became of an attempt, as on.attempt sees it.
 */
#include "base/slice.h"
#include "policy/engine.h"

static const struct policy_attempt *attempt_of(const struct object *o)
{
    return o->p;
}

static const struct send_result *result_of(const struct object *o)
{
    return attempt_of(o)->result;
}

static int push_optional(lua_State *L, barid_slice s)
{
    if (s.n > 0)
        script_push(L, s);
    else
        lua_pushnil(L);
    return 1;
}

static int get_status(lua_State *L, struct object *o)
{
    static const char *const names[] = {[DELIVERY_DONE] = "delivered",
                                        [DELIVERY_AGAIN] = "deferred",
                                        [DELIVERY_FAILED] = "failed"};

    lua_pushstring(L, names[result_of(o)->status]);
    return 1;
}

static int get_reply(lua_State *L, struct object *o)
{
    script_push(L, result_of(o)->reply);
    return 1;
}

static size_t digits(barid_slice s)
{
    size_t n = 0;

    while (n < s.n && s.p[n] >= '0' && s.p[n] <= '9')
        n++;
    return n;
}

/* "550" of "550 5.1.1 no such user"; empty = there is none. */
static barid_slice code_of(barid_slice reply)
{
    return digits(reply) == 3 ? slice_head(reply, 3) : (barid_slice){0};
}

/* "5.1.1" behind it (RFC 3463 2). */
static barid_slice enhanced_of(barid_slice reply)
{
    barid_slice word = code_of(reply).n > 0 ? slice_from(reply, 3) : (barid_slice){0}, rest;

    if (word.n == 0 || (word.p[0] != ' ' && word.p[0] != '-'))
        return (barid_slice){0};
    word = slice_from(word, 1);
    word = slice_head(word, slice_find(word, ' '));
    rest = word;
    for (int i = 0; i < 3; i++) {
        size_t n = digits(rest);

        if (n == 0 || n > 3 || (i < 2) != (n < rest.n && rest.p[n] == '.') ||
            (i == 2 && n != rest.n))
            return (barid_slice){0};
        rest = slice_from(rest, i < 2 ? n + 1 : n);
    }
    return word;
}

static int get_code(lua_State *L, struct object *o)
{
    barid_slice code = code_of(result_of(o)->reply);
    uint64_t value;

    if (code.n > 0 && slice_u64(code, 999, &value) == 0)
        lua_pushinteger(L, (lua_Integer)value);
    else
        lua_pushnil(L);
    return 1;
}

static int get_enhanced(lua_State *L, struct object *o)
{
    return push_optional(L, enhanced_of(result_of(o)->reply));
}

static int get_stage(lua_State *L, struct object *o)
{
    lua_pushstring(L, result_of(o)->stage); /* NULL: nil */
    return 1;
}

static int get_remote(lua_State *L, struct object *o)
{
    return push_optional(L, result_of(o)->remote);
}

static int get_remote_address(lua_State *L, struct object *o)
{
    return push_optional(L, result_of(o)->remote_address);
}

static int get_hop(lua_State *L, struct object *o)
{
    char text[HOP_TEXT_SIZE];

    if (attempt_of(o)->hop != NULL)
        lua_pushlstring(L, text, hop_text(attempt_of(o)->hop, text));
    else
        lua_pushnil(L);
    return 1;
}

static int get_recipients(lua_State *L, struct object *o)
{
    const struct thread *t = o->owner;

    push_rcpts(L, t->session, t->call->mail, attempt_of(o)->rcpts, attempt_of(o)->n_rcpts);
    return 1;
}

static int get_attempts(lua_State *L, struct object *o)
{
    lua_pushinteger(L, attempt_of(o)->attempts);
    return 1;
}

static int get_next_attempt(lua_State *L, struct object *o)
{
    int64_t next = attempt_of(o)->next_us;

    if (result_of(o)->status == DELIVERY_AGAIN && next != 0 && next != INT64_MAX)
        lua_pushnumber(L, (lua_Number)next / 1e6);
    else
        lua_pushnil(L);
    return 1;
}

static int get_suspect(lua_State *L, struct object *o)
{
    lua_pushboolean(L, result_of(o)->is_suspect);
    return 1;
}

/*** @class result
 * What became of an attempt for recipients with the same end: `on.attempt`. Read-only: answer
 * with done, again, fail or hold. A delivered mail stays delivered: there the answer is nothing,
 * or done.
 * @field {string} status "delivered", "deferred" (to be tried again) or "failed"
 * @field {string} reply such as "550 5.1.1 no such user"; this server's words where no other
 * said anything
 * @field {number} code the first of reply, nil when it has none
 * @field {string} enhanced such as "5.1.1", nil when reply has none
 * @field {string} stage where it ended: "dns", "connect", "rcpt", "final", ...; nil for files
 * @field {string} remote name of the host that was asked, nil when there was none
 * @field {string} remote_address such as "192.0.2.1:25", nil when there was none
 * @field {string} hop the next hop such as "[mail.example.com]:587"; nil: a file was written
 * @field {list} recipients list of rcpt
 * @field {number} attempts so far, with this one
 * @field {number} next_attempt deferred: by the schedule, seconds since 1970; nil = no more
 * @field {boolean} suspect a connection was lost after the mail's end, now or before: it may have been
 * delivered
 */
static const struct field fields[] = {{"status", .get = get_status},
                                      {"reply", .get = get_reply},
                                      {"code", .get = get_code},
                                      {"enhanced", .get = get_enhanced},
                                      {"stage", .get = get_stage},
                                      {"remote", .get = get_remote},
                                      {"remote_address", .get = get_remote_address},
                                      {"hop", .get = get_hop},
                                      {"recipients", .get = get_recipients},
                                      {"attempts", .get = get_attempts},
                                      {"next_attempt", .get = get_next_attempt},
                                      {"suspect", .get = get_suspect},
                                      {NULL}};
const struct class result_class = {.name = "result", .id = CLASS_RESULT, .fields = fields};
