/*
 * policy/class_report.c: report, what a sender will be told, as on.failure and on.delay see and change it.
 */
#include "base/slice.h"
#include "policy/engine.h"

#define REPORT_TEXT_MAX    65536 /* octets of each text for people: more is no letter */
#define REPORT_SUBJECT_MAX 998   /* octets: a line of RFC 5322 */

static struct policy_report *report_of(const struct object *o)
{
    return o->p;
}

static bool is_delay(const struct object *o)
{
    return report_of(o)->report->action == REPORT_DELAYED;
}

/* --- texts ----------------------------------------------------------------------------------
 */

static barid_slice *text_of(lua_State *L, struct object *o)
{
    struct report *r = report_of(o)->report;
    const char *name = lua_tostring(L, 2);

    return strcmp(name, "subject") == 0          ? &r->subject
           : strcmp(name, "text") == 0           ? &r->text
           : strcmp(name, "recipient_text") == 0 ? &r->rcpt_text
                                                 : &r->footer;
}

static int push_optional(lua_State *L, barid_slice s)
{
    if (s.n > 0)
        script_push(L, s);
    else
        lua_pushnil(L);
    return 1;
}

static int get_text(lua_State *L, struct object *o)
{
    return push_optional(L, *text_of(L, o));
}

static void set_text(lua_State *L, struct object *o)
{
    barid_slice *at = text_of(L, o);
    bool is_subject = at == &report_of(o)->report->subject;
    const char *what = lua_pushfstring(L, "report.%s", lua_tostring(L, 2));

    *at = text_check(L, report_of(o)->arena, what,
                     is_subject ? REPORT_SUBJECT_MAX : REPORT_TEXT_MAX);
}

/* --- addresses ------------------------------------------------------------------------------
 */

static barid_slice address_check(lua_State *L, struct object *o, const char *what)
{
    struct mailbox box;
    int rc;

    if (lua_type(L, 3) != LUA_TSTRING)
        luaL_error(L, "%s: an address is expected, not a %s", what, luaL_typename(L, 3));
    rc = mailbox_from_text(&box, report_of(o)->arena, script_slice(L, 3),
                           engine_of(L)->script.config->subaddress);
    if (rc == BARID_ESYNTAX || (rc == 0 && box.null))
        luaL_error(L, "%s: '%s' is not an address, write \"user@domain\"", what,
                   lua_tostring(L, 3));
    check_rc(L, rc, what);
    return box.address;
}

static int get_sender(lua_State *L, struct object *o)
{
    return push_optional(L, report_of(o)->report->sender);
}

static void set_sender(lua_State *L, struct object *o)
{
    report_of(o)->report->sender =
        lua_isnil(L, 3) ? (barid_slice){0} : address_check(L, o, "report.sender");
}

static int get_to(lua_State *L, struct object *o)
{
    script_push(L, report_of(o)->to);
    return 1;
}

static void set_to(lua_State *L, struct object *o)
{
    if (!is_delay(o))
        luaL_error(L, "report.to is read-only in on.failure");
    report_of(o)->to = address_check(L, o, "report.to");
}

/* --- what goes with it ----------------------------------------------------------------------
 */

static const char *const attach_names[] = {[REPORT_ATTACH_DEFAULT] = "default",
                                           [REPORT_ATTACH_NOTHING] = "nothing",
                                           [REPORT_ATTACH_HEADER] = "header",
                                           [REPORT_ATTACH_SOURCE] = "source"};

static int get_attach(lua_State *L, struct object *o)
{
    lua_pushstring(L, attach_names[report_of(o)->report->attach]);
    return 1;
}

static void set_attach(lua_State *L, struct object *o)
{
    for (int i = 0; lua_type(L, 3) == LUA_TSTRING && i < 4; i++) {
        if (strcmp(attach_names[i], lua_tostring(L, 3)) == 0) {
            report_of(o)->report->attach = (enum report_attach)i;
            return;
        }
    }
    luaL_error(L, "report.attach: there are default, nothing, header, source, not '%s'",
               luaL_tolstring(L, 3, NULL));
}

/* --- what it is about -----------------------------------------------------------------------
 */

static void set_slice(lua_State *L, const char *name, barid_slice s)
{
    script_push(L, s);
    lua_setfield(L, -2, name);
}

static int get_recipients(lua_State *L, struct object *o)
{
    const struct report *r = report_of(o)->report;

    lua_createtable(L, (int)r->n_rcpts, 0);
    for (size_t i = 0; i < r->n_rcpts; i++) {
        lua_createtable(L, 0, 3);
        set_slice(L, "address", r->rcpts[i].rcpt->box.address);
        set_slice(L, "reply", r->rcpts[i].reply);
        if (r->rcpts[i].remote.n > 0)
            set_slice(L, "remote", r->rcpts[i].remote);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static int get_attempts(lua_State *L, struct object *o)
{
    lua_pushinteger(L, report_of(o)->attempts);
    return 1;
}

static int get_remaining(lua_State *L, struct object *o)
{
    lua_pushinteger(L, is_delay(o) ? report_of(o)->tries_left : 0);
    return 1;
}

static int get_next_attempt(lua_State *L, struct object *o)
{
    int64_t next = report_of(o)->next_us;

    if (is_delay(o) && next != 0 && next != INT64_MAX)
        lua_pushnumber(L, (lua_Number)next / 1e6);
    else
        lua_pushnil(L);
    return 1;
}

static int get_action(lua_State *L, struct object *o)
{
    lua_pushstring(L, report_action_name(report_of(o)->report->action));
    return 1;
}

static int get_wanted(lua_State *L, struct object *o)
{
    lua_pushboolean(L, report_of(o)->wanted);
    return 1;
}

/*** @class report
 * What a sender will be told: `on.failure` and `on.delay`. accept() sends it, discard() does not;
 * without an answer `wanted` decides. Texts that are nil are the server's own.
 * @field {string} subject up to 998 octets; may be written, as all texts
 * @field {string} sender address in From, nil = MAILER-DAEMON of this host; may be written
 * @field {string} text for people, up to 65,536 octets; lines end in "\n"
 * @field {string} recipient_text for each recipient, behind text: %{address}, %{reason}, %%
 * @field {string} footer behind the recipients
 * @field {string} attach of the mail: "source", "header", "nothing", or "default": what its
 * sender asked for; may be written
 * @field {string} to where the report goes: the sender; in `on.delay` it may be written
 * @field {list} recipients of { address = ..., reply = ..., remote = ... }; remote is the host
 * that replied, nil = none (read-only)
 * @field {number} attempts so far (read-only)
 * @field {number} retry_count the same (read-only)
 * @field {number} remaining_retries 0 after a failure (read-only)
 * @field {number} next_attempt seconds since 1970, nil after a failure (read-only)
 * @field {string} action "failed" or "delayed" (read-only)
 * @field {boolean} wanted it is sent when no hook says otherwise (read-only)
 */
static const struct field fields[] = {{"subject", .get = get_text, .set = set_text},
                                      {"sender", .get = get_sender, .set = set_sender},
                                      {"text", .get = get_text, .set = set_text},
                                      {"recipient_text", .get = get_text, .set = set_text},
                                      {"footer", .get = get_text, .set = set_text},
                                      {"attach", .get = get_attach, .set = set_attach},
                                      {"to", .get = get_to, .set = set_to},
                                      {"recipients", .get = get_recipients},
                                      {"attempts", .get = get_attempts},
                                      {"retry_count", .get = get_attempts},
                                      {"remaining_retries", .get = get_remaining},
                                      {"next_attempt", .get = get_next_attempt},
                                      {"action", .get = get_action},
                                      {"wanted", .get = get_wanted},
                                      {NULL}};
const struct class report_class = {.name = "report", .id = CLASS_REPORT, .fields = fields};

void delivery_open(lua_State *L)
{
    class_open(L, &hop_class);
    class_open(L, &result_class);
    class_open(L, &report_class);
}
