/*
 * message/template.c: delivery targets. Knows paths as text only: nothing here looks at a file
 * system.
 *
 * Two steps: pieces (literals and values, each value made safe) are put together; then the
 * whole is cleaned component by component, so that no mixture of literals and values ("." and
 * ".") can make a step up. Whatever the input, a result has no NUL, no leading or doubled "/",
 * and no component ".", "..": that is the invariant the fuzz target checks.
 */
#include "message/template.h"

#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/slice.h"

/* The longest value before it is made safe: an address. Longer ones are cut by the policy that
 * set them, or refused. */
#define VALUE_MAX (TEMPLATE_RESULT_MAX)

struct source {
    const struct mail *mail;
    const struct rcpt *rcpt;
    char text[CLOCK_RFC3339_SIZE]; /* for values that are made, not found */
};

static barid_slice user_of(struct source *s)
{
    return s->rcpt->box.user;
}

static barid_slice tag_of(struct source *s)
{
    return s->rcpt->box.tag;
}

static barid_slice local_of(struct source *s)
{
    return s->rcpt->box.local;
}

static barid_slice domain_of(struct source *s)
{
    return s->rcpt->box.domain;
}

static barid_slice id_of(struct source *s)
{
    mail_id_text(s->mail->id, s->text);
    return slice_str(s->text);
}

/* A piece of "2026-11-20T...": the time of receipt, UTC. */
static barid_slice date_part(struct source *s, size_t at, size_t n)
{
    clock_rfc3339(s->mail->received_us, s->text);
    return slice_of(s->text + at, n);
}

static barid_slice year_of(struct source *s)
{
    return date_part(s, 0, 4);
}

static barid_slice month_of(struct source *s)
{
    return date_part(s, 5, 2);
}

static barid_slice day_of(struct source *s)
{
    return date_part(s, 8, 2);
}

/* A value is one text (get) or a mailbox (box), written local@domain. */
static const struct mailbox *rcpt_box(const struct source *s)
{
    return &s->rcpt->box;
}

static const struct mailbox *sender_box(const struct source *s)
{
    return &s->mail->sender;
}

static const struct name {
    const char *name;
    bool of_rcpt;
    barid_slice (*get)(struct source *s);
    const struct mailbox *(*box)(const struct source *s);
} names[] = {
    {"user", true, user_of, NULL},     {"tag", true, tag_of, NULL},
    {"local", true, local_of, NULL},   {"domain", true, domain_of, NULL},
    {"address", true, NULL, rcpt_box}, {"sender", false, NULL, sender_box},
    {"id", false, id_of, NULL},        {"yyyy", false, year_of, NULL},
    {"mm", false, month_of, NULL},     {"dd", false, day_of, NULL},
};

static const struct name *find_name(barid_slice text)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (slice_eq(text, slice_str(names[i].name)))
            return &names[i];
    return NULL;
}

struct piece {
    const struct name *name; /* NULL: literal */
    barid_slice literal;
};

/* 1 = *piece_r, 0 = end, BARID_ESYNTAX. */
static int next_piece(barid_slice text, size_t *at, struct piece *piece_r, struct err *err)
{
    barid_slice rest = slice_from(text, *at);
    size_t percent = slice_find(rest, '%'), end;

    if (rest.n == 0)
        return 0;
    *piece_r = (struct piece){.literal = slice_head(rest, percent)};
    if (percent > 0) {
        *at += percent;
        return 1;
    }
    if (rest.n >= 2 && rest.p[1] == '%') {
        piece_r->literal = slice_head(rest, 1);
        *at += 2;
        return 1;
    }
    end = slice_find(rest, '}');
    if (rest.n < 2 || rest.p[1] != '{' || end == rest.n)
        return err_set(err, BARID_ESYNTAX,
                       "a %% in a target begins %%{name} or is written %%%%");
    piece_r->name = find_name(slice_of(rest.p + 2, end - 2));
    if (piece_r->name == NULL)
        return err_set(err, BARID_ESYNTAX,
                       "%.*s is not known: use user, tag, local, domain, address, sender, id, "
                       "yyyy, mm or dd",
                       (int)(end + 1 < 64 ? end + 1 : 64), rest.p);
    *at += end + 1;
    return 1;
}

/* What the literals of one component have said so far. */
struct component {
    size_t n;
    bool dots; /* nothing but dots */
};

static bool steps_up(const struct component *c)
{
    return c->dots && c->n == 2;
}

static int check_literal(barid_slice s, struct component *c, struct err *err)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((uint8_t)s.p[i] < ' ' || s.p[i] == 127)
            return err_set(err, BARID_ESYNTAX, "a control character in a target");
        if (s.p[i] == '/') {
            if (steps_up(c))
                return err_set(err, BARID_ESYNTAX,
                               "a target must not contain \"..\": it stays beneath its root");
            *c = (struct component){.dots = true};
        } else {
            c->dots = c->dots && s.p[i] == '.';
            c->n++;
        }
    }
    return 0;
}

int template_check(barid_slice text, bool has_rcpt, struct err *err)
{
    struct component c = {.dots = true};
    struct piece piece;
    size_t at = 0;
    int rc;

    if (text.n == 0 || text.n > TEMPLATE_RESULT_MAX)
        return err_set(err, BARID_ESYNTAX, "a target has 1 to %d octets", TEMPLATE_RESULT_MAX);
    if (text.p[0] == '/')
        return err_set(err, BARID_ESYNTAX,
                       "a target is relative to its root: leave the leading \"/\" out");
    while ((rc = next_piece(text, &at, &piece, err)) == 1) {
        if (piece.name != NULL && piece.name->of_rcpt && !has_rcpt)
            return err_set(err, BARID_ESYNTAX,
                           "%%{%s} names a recipient, and there is none here",
                           piece.name->name);
        c.dots = c.dots && piece.name == NULL;
        if (piece.name == NULL)
            rc = check_literal(piece.literal, &c, err);
        if (rc < 0)
            return rc;
    }
    if (rc == 0 && steps_up(&c))
        return err_set(err, BARID_ESYNTAX,
                       "a target must not contain \"..\": it stays beneath its root");
    return rc;
}

static int append_safe(struct buf *out, barid_slice v)
{
    bool utf8 = utf8_valid(v);
    int rc = v.n > VALUE_MAX ? BARID_ELIMIT : 0;

    for (size_t i = 0; rc == 0 && i < v.n; i++) {
        uint8_t c = (uint8_t)v.p[i];
        bool bad =
            c < ' ' || c == 127 || c == '/' || (c > 127 && !utf8) || (c == '.' && i == 0);

        rc = buf_byte(out, bad ? '_' : (char)c);
    }
    return rc;
}

static int append_piece(struct buf *out, const struct piece *piece, struct source *s)
{
    const struct mailbox *box;
    int rc;

    if (piece->name == NULL)
        return buf_append(out, piece->literal);
    if (piece->name->get != NULL)
        return append_safe(out, piece->name->get(s));
    box = piece->name->box(s);
    rc = append_safe(out, box->local);
    if (rc < 0 || box->domain.n == 0)
        return rc;
    rc = buf_byte(out, '@');
    return rc < 0 ? rc : append_safe(out, box->domain);
}

/* Rewrites out in place: it only gets shorter. */
static int clean(struct buf *out, struct err *err)
{
    barid_slice rest = buf_slice(out), part;
    size_t n = 0;

    while (rest.n > 0) {
        part = slice_cut(rest, '/', &rest);
        if (part.n == 0 || slice_eq(part, BARID_S(".")))
            continue;
        if (part.n > TEMPLATE_COMPONENT_MAX)
            return err_set(err, BARID_ELIMIT, "a name of %zu octets in a target: at most %d",
                           part.n, TEMPLATE_COMPONENT_MAX);
        if (n > 0)
            out->p[n++] = '/';
        memmove(out->p + n, part.p, part.n);
        if (slice_eq(slice_of(out->p + n, part.n), BARID_S("..")))
            memcpy(out->p + n, "__", 2);
        n += part.n;
    }
    out->len = n;
    if (n == 0)
        return err_set(err, BARID_ESYNTAX, "a target expands to nothing for this mail");
    if (n > TEMPLATE_RESULT_MAX)
        return err_set(err, BARID_ELIMIT, "a target of %zu octets: at most %d", n,
                       TEMPLATE_RESULT_MAX);
    return 0;
}

int template_expand_buf(barid_slice text, const struct mail *m, const struct rcpt *rcpt,
                        struct buf *out, struct err *err)
{
    struct source source = {.mail = m, .rcpt = rcpt};
    struct piece piece;
    size_t at = 0;
    int rc = template_check(text, rcpt != NULL, err);

    buf_clear(out);
    if (rc < 0)
        return rc;
    while ((rc = next_piece(text, &at, &piece, err)) == 1) {
        rc = append_piece(out, &piece, &source);
        if (rc < 0)
            return err_set(err, rc, "a target does not expand: %s", barid_strerror(rc));
    }
    return rc < 0 ? rc : clean(out, err);
}

int template_expand(barid_slice text, const struct mail *m, const struct rcpt *rcpt,
                    struct arena *arena, barid_slice *result_r, struct err *err)
{
    struct buf out;
    int rc;

    buf_init(&out, arena->mem, 0);
    rc = template_expand_buf(text, m, rcpt, &out, err);
    if (rc == 0 && arena_slice(arena, buf_slice(&out), result_r) < 0)
        rc = err_set(err, BARID_ENOMEM, "out of memory");
    buf_deinit(&out);
    return rc;
}
