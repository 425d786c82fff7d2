/*
 * message/record_fields.c: the tables of what a record holds. A tag is for ever: what is no
 * longer written keeps its number.
 */
#include "message/record_int.h"

#include <string.h>

#include "message/varint_int.h"

#define SIZE_OF(owner, member) sizeof(((owner *)0)->member)
#define UINT(t, owner, member, most)                                                           \
    {                                                                                          \
        .tag = (t), .type = RECORD_UINT, .offset = offsetof(owner, member),                    \
        .size = SIZE_OF(owner, member), .max = (most)                                          \
    }
#define FLAG(t, owner, member) UINT(t, owner, member, 1)
#define INT(t, owner, member)                                                                  \
    {                                                                                          \
        .tag = (t), .type = RECORD_INT, .offset = offsetof(owner, member), .size = 8           \
    }
#define TEXT(t, owner, member)                                                                 \
    {                                                                                          \
        .tag = (t), .type = RECORD_TEXT, .offset = offsetof(owner, member)                     \
    }
#define BYTES(t, owner, member)                                                                \
    {                                                                                          \
        .tag = (t), .type = RECORD_BYTES, .offset = offsetof(owner, member),                   \
        .size = SIZE_OF(owner, member)                                                         \
    }
#define GROUP(t, owner, member, table)                                                         \
    {                                                                                          \
        .tag = (t), .type = RECORD_GROUP, .offset = offsetof(owner, member), .group = &(table) \
    }
#define LIST(t, where, put_all, get_one)                                                       \
    {                                                                                          \
        .tag = (t), .type = RECORD_LIST, .offset = (where), .put = (put_all), .get = (get_one) \
    }
#define TABLE(name, rows)                                                                      \
    static const struct record_fields name = {rows, sizeof(rows) / sizeof(*rows)}

static const struct record_field endpoint_rows[] = {
    UINT(1, barid_endpoint, family, BARID_FAMILY_UNIX),
    BYTES(2, barid_endpoint, addr),
    UINT(3, barid_endpoint, port, UINT16_MAX),
};
TABLE(endpoint_fields, endpoint_rows);

static const struct record_field facts_rows[] = {
    BYTES(1, struct session_facts, id),
    UINT(2, struct session_facts, protocol, BARID_LMTP),
    GROUP(3, struct session_facts, client, endpoint_fields),
    GROUP(4, struct session_facts, local, endpoint_fields),
    TEXT(5, struct session_facts, listener),
    TEXT(6, struct session_facts, client_name),
    TEXT(7, struct session_facts, helo),
    FLAG(8, struct session_facts, esmtp),
    FLAG(9, struct session_facts, tls),
    TEXT(10, struct session_facts, tls_version),
    TEXT(11, struct session_facts, tls_cipher),
    TEXT(12, struct session_facts, tls_sni),
    TEXT(13, struct session_facts, tls_peer),
    UINT(14, struct session_facts, tls_bits, UINT32_MAX),
    TEXT(15, struct session_facts, user),
    UINT(16, struct session_facts, mechanism, BARID_AUTH_SCRAM_SHA_256),
    FLAG(17, struct session_facts, trusted),
    INT(18, struct session_facts, started_us),
};
TABLE(facts_fields, facts_rows);

static const struct record_field mailbox_rows[] = {
    TEXT(1, struct mailbox, address), TEXT(2, struct mailbox, local),
    TEXT(3, struct mailbox, domain),  TEXT(4, struct mailbox, user),
    TEXT(5, struct mailbox, tag),     FLAG(6, struct mailbox, null),
    FLAG(7, struct mailbox, quoted),  FLAG(8, struct mailbox, literal),
    FLAG(9, struct mailbox, utf8),
};
TABLE(mailbox_fields, mailbox_rows);

static const struct record_field params_rows[] = {
    FLAG(1, barid_mail_params, size_given),
    UINT(2, barid_mail_params, size, UINT64_MAX),
    UINT(3, barid_mail_params, body, BARID_BODY_BINARYMIME),
    FLAG(4, barid_mail_params, smtputf8),
    FLAG(5, barid_mail_params, prdr),
    UINT(6, barid_mail_params, ret, BARID_RET_HDRS),
    TEXT(7, barid_mail_params, envid),
    FLAG(8, barid_mail_params, auth_given),
    TEXT(9, barid_mail_params, auth),
};
TABLE(params_fields, params_rows);

/* --- variables ---------------------------------------------------------------------------- */

/* One variable as it is written: a real number as its bits, so that it comes back the same. */
struct var_text {
    barid_slice key, str;
    unsigned type;
    bool flag;
    int64_t num;
    char real[8];
};

static const struct record_field var_rows[] = {
    TEXT(1, struct var_text, key),   UINT(2, struct var_text, type, VAR_STR),
    FLAG(3, struct var_text, flag),  INT(4, struct var_text, num),
    BYTES(5, struct var_text, real), TEXT(6, struct var_text, str),
};
TABLE(var_fields, var_rows);

static int put_vars(struct buf *out, uint8_t tag, const void *list)
{
    const struct vars *vars = list;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < vars->n; i++) {
        const struct var *v = &vars->v[i];
        struct var_text text = {.key = v->key, .type = v->type};

        text.flag = v->type == VAR_BOOL && v->flag;
        text.num = v->type == VAR_INT ? v->num : 0;
        if (v->type == VAR_NUM)
            memcpy(text.real, &v->real, sizeof(text.real));
        if (v->type == VAR_STR)
            text.str = v->str;
        rc = record_put_group(out, tag, &var_fields, &text, true);
    }
    return rc;
}

static int get_var(struct arena *arena, barid_slice value, void *list)
{
    struct vars *vars = list;
    struct var_text text = {.type = VAR_BOOL};
    struct var v;
    int rc = record_get_fields(arena, &var_fields, value, &text);

    if (rc < 0)
        return rc;
    v = (struct var){.key = text.key, .flag = text.flag, .num = text.num, .str = text.str};
    /* Same order as the enum; max above keeps it within. */
    v.type = text.type == VAR_BOOL  ? VAR_BOOL
             : text.type == VAR_INT ? VAR_INT
             : text.type == VAR_NUM ? VAR_NUM
                                    : VAR_STR;
    memcpy(&v.real, text.real, sizeof(v.real));
    if (vars->arena == NULL)
        vars_init(vars, arena);
    rc = vars_set(vars, &v);
    return rc == BARID_ELIMIT ? BARID_ECORRUPT : rc;
}

/* --- recipients --------------------------------------------------------------------------- */

static const struct record_field rcpt_rows[] = {
    GROUP(1, struct rcpt, box, mailbox_fields),
    TEXT(2, struct rcpt, original),
    FLAG(3, struct rcpt, is_local),
    FLAG(4, struct rcpt, alias_of_previous),
    UINT(5, struct rcpt, notify, UINT32_MAX),
    TEXT(6, struct rcpt, orcpt),
    UINT(7, struct rcpt, verdict, RCPT_HELD),
    TEXT(8, struct rcpt, reply),
    LIST(9, offsetof(struct rcpt, vars), put_vars, get_var),
    FLAG(10, struct rcpt, relayed),
};
TABLE(rcpt_fields, rcpt_rows);

static int put_rcpts(struct buf *out, uint8_t tag, const void *list)
{
    const struct mail *m = list;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < m->n_rcpts; i++)
        rc = record_put_group(out, tag, &rcpt_fields, m->rcpts[i], true);
    return rc;
}

static int get_rcpt(struct arena *arena, barid_slice value, void *list)
{
    struct mailbox none = {.null = false};
    struct mail *m = list;
    struct rcpt *rcpt;
    int rc = mail_add_rcpt(m, &none, (barid_slice){NULL, 0}, &rcpt);

    if (rc == 0)
        rc = record_get_fields(arena, &rcpt_fields, value, rcpt);
    return rc == BARID_ELIMIT ? BARID_ECORRUPT : rc;
}

/* --- units -------------------------------------------------------------------------------- */

/* Recipients are varints one after the other. */
struct unit_text {
    struct unit unit;
    barid_slice rcpts;
};

static const struct record_field unit_rows[] = {
    UINT(1, struct unit_text, unit.kind, DISPOSITION_SEND),
    TEXT(2, struct unit_text, unit.target),
    FLAG(3, struct unit_text, unit.held),
    TEXT(4, struct unit_text, rcpts),
    FLAG(5, struct unit_text, unit.pinned),
};
TABLE(unit_fields, unit_rows);

static int put_unit(struct buf *out, uint8_t tag, const struct unit *u)
{
    struct unit_text text = {.unit = *u};
    char number[VARINT_MAX];
    struct buf rcpts;
    int rc = 0;

    buf_init(&rcpts, out->mem, 0);
    for (size_t i = 0; rc == 0 && i < u->n_rcpts; i++)
        rc = buf_append(&rcpts, (barid_slice){number, varint_put(number, u->rcpts[i])});
    text.rcpts = buf_slice(&rcpts);
    if (rc == 0)
        rc = record_put_group(out, tag, &unit_fields, &text, true);
    buf_deinit(&rcpts);
    return rc;
}

static int put_units(struct buf *out, uint8_t tag, const void *list)
{
    const struct record_root *root = list;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < root->n_units; i++)
        rc = put_unit(out, tag, &root->units[i]);
    return rc;
}

static int get_unit_rcpts(struct arena *arena, barid_slice text, struct unit *u)
{
    uint64_t index;

    /* Each takes an octet or more: the text's length bounds the array. */
    u->rcpts = text.n > 0 ? arena_alloc(arena, text.n * sizeof(*u->rcpts)) : NULL;
    if (text.n > 0 && u->rcpts == NULL)
        return BARID_ENOMEM;
    for (size_t at = 0; at < text.n;) {
        if (!varint_get(text, &at, &index) || index >= MAIL_RCPTS_MAX)
            return BARID_ECORRUPT;
        u->rcpts[u->n_rcpts++] = (size_t)index;
    }
    return 0;
}

static int grow_units(struct arena *arena, struct record_root *root)
{
    size_t cap = root->cap_units > 0 ? root->cap_units * 2 : 8;
    struct unit *units;

    if (root->n_units >= MAIL_ROWS_MAX)
        return BARID_ECORRUPT;
    if (root->n_units < root->cap_units)
        return 0;
    units = arena_alloc(arena, cap * sizeof(*units));
    if (units == NULL)
        return BARID_ENOMEM;
    if (root->n_units > 0)
        memcpy(units, root->units_made, root->n_units * sizeof(*units));
    root->units = root->units_made = units;
    root->cap_units = cap;
    return 0;
}

static int get_unit(struct arena *arena, barid_slice value, void *list)
{
    struct record_root *root = list;
    struct unit_text text = {.rcpts = {NULL, 0}};
    int rc = record_get_fields(arena, &unit_fields, value, &text);

    if (rc == 0)
        rc = get_unit_rcpts(arena, text.rcpts, &text.unit);
    if (rc == 0)
        rc = grow_units(arena, root);
    if (rc == 0)
        root->units_made[root->n_units++] = text.unit;
    return rc;
}

static const struct record_field retry_rows[] = {
    FLAG(1, struct mail_retry, set),
    UINT(2, struct mail_retry, first_s, UINT32_MAX),
    UINT(3, struct mail_retry, max_s, UINT32_MAX),
    UINT(4, struct mail_retry, tries, UINT32_MAX),
    FLAG(5, struct mail_retry, notice_set),
    UINT(6, struct mail_retry, notice, UINT32_MAX),
};
TABLE(retry_fields, retry_rows);

/* --- the record --------------------------------------------------------------------------- */

static const struct record_field root_rows[] = {
    UINT(1, struct record_root, mail.id, UINT64_MAX),
    INT(2, struct record_root, mail.received_us),
    GROUP(3, struct record_root, mail.sender, mailbox_fields),
    TEXT(4, struct record_root, mail.sender_original),
    GROUP(5, struct record_root, mail.params, params_fields),
    LIST(6, offsetof(struct record_root, mail), put_rcpts, get_rcpt),
    LIST(7, offsetof(struct record_root, mail.vars), put_vars, get_var),
    LIST(8, 0, put_units, get_unit),
    GROUP(9, struct record_root, facts, facts_fields),
    UINT(10, struct record_root, mail.state, MAIL_DISCARDED),
    TEXT(11, struct record_root, mail.state_reason),
    INT(12, struct record_root, mail.delay_until_us),
    FLAG(13, struct record_root, mail.relay_allowed),
    UINT(14, struct record_root, mail.policy_version, UINT64_MAX),
    TEXT(15, struct record_root, explain),
    FLAG(16, struct record_root, mail.has_header),
    FLAG(17, struct record_root, mail.has_blank_line),
    UINT(18, struct record_root, mail.body_size, UINT64_MAX),
    UINT(19, struct record_root, mail.hops, UINT32_MAX),
    GROUP(20, struct record_root, mail.retry, retry_fields),
};
const struct record_fields record_root_fields = {root_rows,
                                                 sizeof(root_rows) / sizeof(*root_rows)};
