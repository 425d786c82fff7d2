/*
 * policy/class_mail.c: mail, as hooks see it: envelope, size, dispositions. Header and body are
 * in class_mail_content.c.
 */
#include <stdio.h>

#include "base/slice.h"
#include "policy/class_mail.h"
#include "policy/engine.h"

void check_rc(lua_State *L, int rc, const char *what)
{
    if (rc == BARID_ENOMEM)
        luaL_error(L, "not enough memory");
    if (rc < 0)
        luaL_error(L, "%s: %s", what, barid_strerror(rc));
}

struct mail *mail_check(lua_State *L, int arg)
{
    return object_check(L, arg, &mail_class)->p;
}

static void writable(lua_State *L, const struct mail *m, const char *what)
{
    if (m->frozen)
        luaL_error(L, "%s: the mail is queued and cannot be changed any more", what);
}

struct mail *mail_check_undecided(lua_State *L, int arg, const char *what)
{
    struct mail *m = mail_check(L, arg);

    if (m->decided)
        luaL_error(L, "%s: the mail is queued and cannot be changed any more", what);
    return m;
}

struct mail *mail_check_writable(lua_State *L, int arg, const char *what)
{
    struct mail *m = mail_check(L, arg);

    writable(L, m, what);
    return m;
}

bool domain_is_local(const struct config *c, barid_slice domain)
{
    for (size_t i = 0; i < c->n_domains; i++) {
        if (slice_eq_nocase(slice_str(c->domains[i]), domain))
            return true;
    }
    return false;
}

void mailbox_check(lua_State *L, int arg, struct mail *m, struct mailbox *box_r, bool null_ok)
{
    barid_slice text = script_check_slice(L, arg);
    int rc;

    if (text.n == 0 && null_ok) {
        *box_r = (struct mailbox){.null = true};
        return;
    }
    rc = mailbox_from_text(box_r, m->arena, text, engine_of(L)->script.config->subaddress);
    if (rc == BARID_ESYNTAX || (rc == 0 && box_r->null))
        luaL_error(L, "'%s' is not an address, write \"user@domain\"", lua_tostring(L, arg));
    check_rc(L, rc, "address");
}

/* --- fields ---------------------------------------------------------------------------------
 */

static struct mail *mail_of(const struct object *o)
{
    return o->p;
}

static int push_optional(lua_State *L, barid_slice s)
{
    if (s.n > 0)
        script_push(L, s);
    else
        lua_pushnil(L);
    return 1;
}

static int get_id(lua_State *L, struct object *o)
{
    char text[MAIL_ID_TEXT_SIZE];

    if (mail_of(o)->id == 0) {
        lua_pushnil(L);
        return 1;
    }
    mail_id_text(mail_of(o)->id, text);
    lua_pushstring(L, text);
    return 1;
}

static int get_sender(lua_State *L, struct object *o)
{
    script_push(L, mail_of(o)->sender.address);
    return 1;
}

static void set_sender(lua_State *L, struct object *o)
{
    struct mail *m = o->p;
    struct mailbox box;

    writable(L, m, "mail.sender");
    mailbox_check(L, 3, m, &box, true);
    m->sender = box;
}

static int get_sender_domain(lua_State *L, struct object *o)
{
    return push_optional(L, mail_of(o)->sender.domain);
}

static int get_sender_original(lua_State *L, struct object *o)
{
    script_push(L, mail_of(o)->sender_original);
    return 1;
}

static int get_user(lua_State *L, struct object *o)
{
    const struct session_facts *facts = mail_of(o)->session;

    return push_optional(L, facts != NULL ? facts->user : (barid_slice){0});
}

static int get_is_generated(lua_State *L, struct object *o)
{
    const struct session_facts *facts = mail_of(o)->session;

    lua_pushboolean(L, facts == NULL ||
                           (facts->id[0] == '\0' && facts->client.family == BARID_FAMILY_NONE));
    return 1;
}

static int get_size(lua_State *L, struct object *o)
{
    const struct mail *m = mail_of(o);
    uint64_t n = m->body_size + (m->has_blank_line ? 2 : 0);

    for (size_t i = 0; i < m->header.n; i++)
        n += m->header.f[i].deleted ? 0 : m->header.f[i].raw.n;
    lua_pushinteger(L, (lua_Integer)n);
    return 1;
}

static int get_declared_size(lua_State *L, struct object *o)
{
    if (mail_of(o)->params.size_given)
        lua_pushinteger(L, (lua_Integer)mail_of(o)->params.size);
    else
        lua_pushnil(L);
    return 1;
}

static int get_body_type(lua_State *L, struct object *o)
{
    static const char *const names[] = {NULL, "7BIT", "8BITMIME", "BINARYMIME"};

    lua_pushstring(L, names[mail_of(o)->params.body]);
    return 1;
}

static int get_smtputf8(lua_State *L, struct object *o)
{
    lua_pushboolean(L, mail_of(o)->params.smtputf8);
    return 1;
}

static int get_ret(lua_State *L, struct object *o)
{
    static const char *const names[] = {NULL, "FULL", "HDRS"};

    lua_pushstring(L, names[mail_of(o)->params.ret]);
    return 1;
}

static int get_envid(lua_State *L, struct object *o)
{
    return push_optional(L, mail_of(o)->params.envid);
}

static int get_received_at(lua_State *L, struct object *o)
{
    lua_pushnumber(L, (lua_Number)mail_of(o)->received_us / 1e6);
    return 1;
}

static int get_hops(lua_State *L, struct object *o)
{
    lua_pushinteger(L, mail_of(o)->hops);
    return 1;
}

static int get_state(lua_State *L, struct object *o)
{
    lua_pushstring(L, mail_state_name(mail_of(o)->state));
    return 1;
}

static int get_delayed_until(lua_State *L, struct object *o)
{
    if (mail_of(o)->delay_until_us != 0)
        lua_pushnumber(L, (lua_Number)mail_of(o)->delay_until_us / 1e6);
    else
        lua_pushnil(L);
    return 1;
}

static int get_relay_allowed(lua_State *L, struct object *o)
{
    lua_pushboolean(L, mail_of(o)->relay_allowed);
    return 1;
}

static void set_relay_allowed(lua_State *L, struct object *o)
{
    char where[SCRIPT_WHERE_SIZE];

    writable(L, o->p, "mail.relay_allowed");
    if (!lua_isboolean(L, 3))
        luaL_error(L, "mail.relay_allowed: true or false is expected, got %s",
                   luaL_typename(L, 3));
    mail_of(o)->relay_allowed = lua_toboolean(L, 3);
    script_where(L, 1, where);
    log_record(script_of(L)->log, LOG_LEVEL_WARN, "policy", "relay_allowed set",
               LOG_BOOL("value", mail_of(o)->relay_allowed), LOG_CSTR("where", where),
               LOG_CSTR("session", mail_of(o)->session != NULL ? mail_of(o)->session->id : ""));
}

/* --- recipients -----------------------------------------------------------------------------
 */

static struct policy_session *session_of(const struct object *o)
{
    return o->owner;
}

/* A list of those for which keep says true; discarded ones were removed. */
static int push_list(lua_State *L, struct object *o, const bool *keep)
{
    struct mail *m = o->p;
    lua_Integer n = 0;

    lua_createtable(L, (int)m->n_rcpts, 0);
    for (size_t i = 0; i < m->n_rcpts; i++) {
        if (m->rcpts[i]->verdict == RCPT_DISCARDED || (keep != NULL && !keep[i]))
            continue;
        push_rcpt(L, session_of(o), m, m->rcpts[i]);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

static int get_recipients(lua_State *L, struct object *o)
{
    return push_list(L, o, NULL);
}

static int get_hidden_recipients(lua_State *L, struct object *o)
{
    bool *hidden;

    if (!mail_of(o)->has_header)
        return luaL_error(
            L, "mail.hidden_recipients: the header is not in yet, ask from on.headers on");
    check_rc(L, mail_hidden_rcpts(o->p, &engine_of(L)->scratch, &hidden),
             "mail.hidden_recipients");
    return push_list(L, o, hidden);
}

static int get_vars(lua_State *L, struct object *o)
{
    return push_vars(L, 1, &mail_of(o)->vars);
}

/*** @method mail:add_recipient(address)
 * One more recipient, without a reply of its own. From `on.message` on; it must be local unless
 * the client may relay (authenticated, trusted) or `mail.relay_allowed`.
 * @param {string} address
 * @return {rcpt} the recipient
 */
static int add_recipient(lua_State *L)
{
    struct mail *m = mail_check_writable(L, 1, "mail:add_recipient");
    struct object *o = lua_touserdata(L, 1);
    struct mailbox box;
    struct rcpt *r;

    if (m->body.read == NULL)
        return luaL_error(L, "mail:add_recipient: recipients can be added from on.message on");
    mailbox_check(L, 2, m, &box, false);
    if (!domain_is_local(engine_of(L)->script.config, box.domain) && !mail_may_relay(m))
        return luaL_error(
            L, "mail:add_recipient: '%s' is not local and mail.relay_allowed is not set",
            lua_tostring(L, 2));
    for (size_t i = 0; i < m->n_rcpts; i++) {
        if (m->rcpts[i]->verdict != RCPT_DISCARDED && mailbox_same(&m->rcpts[i]->box, &box)) {
            push_rcpt(L, session_of(o), m, m->rcpts[i]);
            return 1;
        }
    }
    check_rc(L, mail_add_rcpt(m, &box, box.address, &r), "mail:add_recipient");
    r->is_local = domain_is_local(engine_of(L)->script.config, box.domain);
    r->relayed = !r->is_local;
    r->alias_of_previous = true; /* the client did not name it, so it gets no reply */
    push_rcpt(L, session_of(o), m, r);
    return 1;
}

/*** @method mail:remove_recipient(recipient)
 * Takes a recipient off: its reply stays in favour, nothing is delivered to it.
 * @param {rcpt|string} recipient the recipient or its address
 * @return {boolean} it was there
 */
static int remove_recipient(lua_State *L)
{
    struct mail *m = mail_check_writable(L, 1, "mail:remove_recipient");
    struct object *o = object_test(L, 2, &rcpt_class);
    struct mailbox box;
    bool found = false;

    if (o != NULL) {
        o = object_check(L, 2, &rcpt_class);
        if (o->owner != m)
            return luaL_error(L,
                              "mail:remove_recipient: that recipient belongs to another mail");
        ((struct rcpt *)o->p)->verdict = RCPT_DISCARDED;
        lua_pushboolean(L, 1);
        return 1;
    }
    mailbox_check(L, 2, m, &box, false);
    for (size_t i = 0; i < m->n_rcpts; i++) {
        if (m->rcpts[i]->verdict != RCPT_DISCARDED && mailbox_same(&m->rcpts[i]->box, &box)) {
            m->rcpts[i]->verdict = RCPT_DISCARDED;
            found = true;
        }
    }
    lua_pushboolean(L, found);
    return 1;
}

/* --- dispositions ---------------------------------------------------------------------------
 */

void target_check(lua_State *L, int arg, bool has_rcpt, const char *what)
{
    struct err err = {0};
    barid_slice target = script_check_slice(L, arg);

    if (template_check(target, has_rcpt, &err) < 0)
        luaL_error(L, "%s: %s", what, err.text);
}

/*** @method mail:store(target)
 * Stores the mail in the mailbox `target` beneath maildir's root for every accepted recipient
 * that has no store of its own.
 * @param {string} target with %{user} %{tag} %{local} %{domain} %{address} %{sender} %{id}
 * %{yyyy} %{mm} %{dd}
 */
static int store(lua_State *L)
{
    struct mail *m = mail_check_undecided(L, 1, "mail:store");

    target_check(L, 2, true, "mail:store");
    check_rc(L, mail_add_row(m, DISPOSITION_STORE, DISPOSITION_REST, 0, script_slice(L, 2)),
             "mail:store");
    return 0;
}

/*** @method mail:archive(target)
 * Writes a copy of the mail as a file beneath archive's root, whatever becomes of its
 * recipients (unless all are refused).
 * @param {string} target with %{sender} %{id} %{yyyy} %{mm} %{dd}
 */
static int archive(lua_State *L)
{
    struct mail *m = mail_check_undecided(L, 1, "mail:archive");

    target_check(L, 2, false, "mail:archive");
    check_rc(L,
             mail_add_row(m, DISPOSITION_ARCHIVE, DISPOSITION_MESSAGE, 0, script_slice(L, 2)),
             "mail:archive");
    return 0;
}

/*** @method mail:exclude(kind, target)
 * Removes a target, whether it was or will be named. `mail:exclude("send")` takes back what is sent
 * by default.
 * @param {string} kind "store", "archive" or "send"
 * @param {string} target of a send: the next hops as they were given, none for the default
 */
static int exclude(lua_State *L)
{
    static const char *const kinds[] = {"store", "archive", "send", NULL};
    static const enum disposition_kind of[] = {DISPOSITION_STORE, DISPOSITION_ARCHIVE,
                                               DISPOSITION_SEND};
    struct mail *m = mail_check_undecided(L, 1, "mail:exclude");
    int kind = luaL_checkoption(L, 2, NULL, kinds);

    if (of[kind] == DISPOSITION_SEND)
        hops_check(L, 3, "mail:exclude");
    else
        target_check(L, 3, kind == 0, "mail:exclude");
    check_rc(L,
             mail_exclude(m, of[kind],
                          script_slice(L, of[kind] == DISPOSITION_SEND ? -1 : 3)),
             "mail:exclude");
    return 0;
}

/*** @method mail:delay_until(when)
 * The first delivery attempt is not made before.
 * @param {number|string} when seconds since 1970, a date as in a Date field, or "+10m", "+1h
 * 30m", "+45s" from now
 */
static int delay_until(lua_State *L)
{
    struct mail *m = mail_check_writable(L, 1, "mail:delay_until");
    int64_t now = clock_wall_us(script_of(L)->clock), until;
    lua_Number seconds;

    if (lua_type(L, 2) == LUA_TNUMBER) {
        seconds = lua_tonumber(L, 2);
        if (!(seconds >= 0 && seconds < 253402300800.0)) /* year 10000 */
            return luaL_error(L, "mail:delay_until: %f is no time", seconds);
        until = (int64_t)(seconds * 1e6);
    } else if (delay_parse(script_check_slice(L, 2), now, &until) < 0) {
        return luaL_error(L,
                          "mail:delay_until: '%s' is no time, write \"+10m\", seconds since "
                          "1970, or a date as in a Date field",
                          lua_tostring(L, 2));
    }
    m->delay_until_us = until;
    return 0;
}

/*** @class mail
 * One mail. Valid while its transaction lasts, or one hook of delivery.
 * @field {string} id queue id; nil before `data`
 * @field {string} sender reverse-path, "" for the null sender; may be written
 * @field {string} sender_domain lower case, nil for the null sender
 * @field {string} sender_original as the client gave it
 * @field {string} user who was authenticated when it came in, nil = nobody
 * @field {boolean} is_generated this server made it (a report); no client brought it
 * @field {list} recipients list of rcpt
 * @field {list} hidden_recipients those that stand in no To, Cc, Resent-To, Resent-Cc or
 * Resent-Bcc field
 * @field {number} size octets so far: header, blank line, body
 * @field {number} declared_size SIZE= of MAIL, nil when not given
 * @field {string} body_type BODY= of MAIL: "7BIT", "8BITMIME", "BINARYMIME" or nil
 * @field {boolean} smtputf8
 * @field {string} ret RET= of MAIL: "FULL", "HDRS" or nil
 * @field {string} envid ENVID= of MAIL, nil when not given
 * @field {number} received_at seconds since 1970
 * @field {number} hops Received fields in the header as it came
 * @field {string} state "active", "held", "quarantined", "discarded"
 * @field {number} delayed_until seconds since 1970; nil = not delayed
 * @field {boolean} relay_allowed true lets recipients pass the relay check; may be written, and
 * that is logged
 * @field {table} retry a schedule of its own: first, max (seconds, or "5m"), tries, notice; what is
 * left out, and nil, is the configuration's; may be written
 * @field {vars} vars your own variables; they are kept in the spool
 */
static const struct field fields[] = {
    {"id", .get = get_id},
    {"sender", .get = get_sender, .set = set_sender},
    {"sender_domain", .get = get_sender_domain},
    {"sender_original", .get = get_sender_original},
    {"recipients", .get = get_recipients},
    {"hidden_recipients", .get = get_hidden_recipients},
    {"user", .get = get_user},
    {"is_generated", .get = get_is_generated},
    {"size", .get = get_size},
    {"declared_size", .get = get_declared_size},
    {"body_type", .get = get_body_type},
    {"smtputf8", .get = get_smtputf8},
    {"ret", .get = get_ret},
    {"envid", .get = get_envid},
    {"received_at", .get = get_received_at},
    {"hops", .get = get_hops},
    {"state", .get = get_state},
    {"delayed_until", .get = get_delayed_until},
    {"relay_allowed", .get = get_relay_allowed, .set = set_relay_allowed},
    {"retry", .get = mail_get_retry, .set = mail_set_retry},
    {"vars", .get = get_vars},
    {"add_recipient", .method = add_recipient},
    {"remove_recipient", .method = remove_recipient},
    {"store", .method = store},
    {"archive", .method = archive},
    {"send", .method = mail_send},
    {"exclude", .method = exclude},
    {"delay_until", .method = delay_until},
    {"header", .method = mail_header},
    {"headers", .method = mail_headers},
    {"add_header", .method = mail_add_header},
    {"set_header", .method = mail_set_header_field},
    {"remove_header", .method = mail_remove_header},
    {"body", .method = mail_body},
    {"replace_body", .method = mail_replace_body},
    {"mime", .method = mail_mime},
    {NULL}};
const struct class mail_class = {.name = "mail", .id = CLASS_MAIL, .fields = fields};
