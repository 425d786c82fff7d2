/*
 * message/hidden.c: which recipients of the envelope the message does not name. Knows address
 * lists of RFC 5322 3.4 as far as finding addresses needs.
 *
 * The scanner walks a value once: comments (nested) and white space are skipped, quoted strings
 * kept with their quotes,
 * "," ";" end an address, ":" ends a group's name, "<...>" replaces what stood before it. What
 * was gathered is parsed by barid_mailbox_parse; what that refuses names nobody. Bounded: one
 * pass per field, an address buffer of ADDRESS_MAX octets (longer ones cannot match any
 * recipient), no recursion.
 */
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "message/mail.h"

#define ADDRESS_MAX 512 /* a path is at most 256; quoting may double a local part */
#define NESTING_MAX 100 /* comments in comments: beyond, the rest of the field is skipped */

struct scanner {
    barid_slice v;
    size_t at;
    char text[ADDRESS_MAX];
    size_t n;
    bool overflow;
    bool angle;  /* inside <> */
    bool closed; /* an address in <> was read: what follows it is no address */
};

static void take(struct scanner *s, char c)
{
    if (s->closed)
        return;
    if (s->n < ADDRESS_MAX)
        s->text[s->n++] = c;
    else
        s->overflow = true;
}

static void restart(struct scanner *s)
{
    s->n = 0;
    s->overflow = s->closed = s->angle = false;
}

static void skip_comment(struct scanner *s)
{
    size_t depth = 0;

    for (; s->at < s->v.n; s->at++) {
        char c = s->v.p[s->at];

        if (c == '\\')
            s->at++;
        else if (c == '(' && ++depth > NESTING_MAX)
            s->at = s->v.n;
        else if (c == ')' && --depth == 0)
            break;
    }
    s->at++;
}

static void take_quoted(struct scanner *s)
{
    take(s, s->v.p[s->at++]);
    while (s->at < s->v.n) {
        char c = s->v.p[s->at++];

        if (c == '\r' || c == '\n')
            continue; /* folding */
        take(s, c);
        if (c == '"')
            return;
        if (c == '\\' && s->at < s->v.n)
            take(s, s->v.p[s->at++]);
    }
}

/* A source route in front (RFC 5322 4.4, obsolete) is no part of the address. */
static barid_slice gathered(const struct scanner *s)
{
    barid_slice text = slice_of(s->text, s->n), rest;

    if (s->overflow)
        return slice_of(NULL, 0);
    if (text.n > 0 && text.p[0] == '@') {
        slice_cut(text, ':', &rest);
        return rest;
    }
    return text;
}

static void angle_open(struct scanner *s)
{
    restart(s);
    s->angle = true;
}

/* One octet outside of quotes and comments. True: an address is complete. */
static bool step(struct scanner *s, char c)
{
    if (c == '<') {
        angle_open(s);
    } else if (c == '>') {
        s->closed = s->angle;
        s->angle = false;
    } else if (c == ':' && !s->angle && memchr(s->text, '[', s->n) == NULL) {
        restart(s);
    } else if ((c == ',' || c == ';') && !s->angle) {
        return true;
    } else if (c != ' ' && c != '\t' && c != '\r' && c != '\n') {
        take(s, c);
    }
    return false;
}

/* The next address of the value, possibly empty. False at the end. */
static bool next_address(struct scanner *s, barid_slice *address_r)
{
    if (s->at >= s->v.n)
        return false;
    restart(s);
    while (s->at < s->v.n) {
        char c = s->v.p[s->at];

        if (c == '(')
            skip_comment(s);
        else if (c == '"')
            take_quoted(s);
        else if (s->at++, step(s, c))
            break;
    }
    *address_r = gathered(s);
    return true;
}

/* What a recipient may be called: its mailbox, and the path given to RCPT, which an alias or a
 * policy may have replaced. */
struct known {
    barid_slice domain, local;
    size_t rcpt;
};

struct search {
    const struct mail *mail;
    struct known *known; /* sorted: a header of many addresses and an envelope of many
                            recipients meet in n log n */
    size_t n;
    bool *hidden;
    struct arena one; /* for one address at a time */
};

static struct known known_of(const struct mailbox *box, size_t rcpt)
{
    bool postmaster = slice_eq_nocase(box->local, BARID_S("postmaster"));

    return (struct known){box->domain, postmaster ? BARID_S("postmaster") : box->local, rcpt};
}

static int compare(const void *a, const void *b)
{
    const struct known *x = a, *y = b;
    int c = slice_cmp(x->domain, y->domain);

    return c != 0 ? c : slice_cmp(x->local, y->local);
}

static int collect(struct search *s, struct arena *arena)
{
    s->known = arena_alloc(arena, 2 * s->mail->n_rcpts * sizeof(*s->known));
    if (s->known == NULL)
        return BARID_ENOMEM;
    for (size_t i = 0; i < s->mail->n_rcpts; i++) {
        const struct rcpt *rcpt = s->mail->rcpts[i];
        struct mailbox box;
        int rc = BARID_ESYNTAX;

        s->known[s->n++] = known_of(&rcpt->box, i);
        if (rcpt->original.n > 0 && !slice_eq(rcpt->original, rcpt->box.address))
            rc = mailbox_from_text(&box, arena, rcpt->original, '\0');
        if (rc == BARID_ENOMEM)
            return rc;
        if (rc == 0)
            s->known[s->n++] = known_of(&box, i);
    }
    qsort(s->known, s->n, sizeof(*s->known), compare);
    return 0;
}

static int strike_out(struct search *s, barid_slice address)
{
    struct known key, *hit;
    struct mailbox box;
    int rc;

    if (address.n == 0)
        return 0;
    arena_reset(&s->one);
    rc = mailbox_from_text(&box, &s->one, address, '\0');
    if (rc < 0)
        return rc == BARID_ENOMEM ? rc : 0;
    key = known_of(&box, 0);
    hit = bsearch(&key, s->known, s->n, sizeof(*s->known), compare);
    if (hit == NULL)
        return 0;
    while (hit > s->known && compare(hit - 1, &key) == 0)
        hit--;
    /* The same mailbox twice in the envelope is named twice. */
    for (; hit < s->known + s->n && compare(hit, &key) == 0; hit++)
        s->hidden[hit->rcpt] = false;
    return 0;
}

static int strike_field(struct search *s, barid_slice value)
{
    struct scanner scan = {.v = value};
    barid_slice address;
    int rc = 0;

    while (rc == 0 && next_address(&scan, &address))
        rc = strike_out(s, address);
    return rc;
}

static bool names_recipients(const struct header_field *f)
{
    static const char *const names[] = {"To",        "Cc",  "Resent-To",
                                        "Resent-Cc", "Bcc", "Resent-Bcc"};

    for (size_t i = 0; !f->deleted && i < sizeof(names) / sizeof(*names); i++)
        if (slice_eq_nocase(f->name, slice_str(names[i])))
            return true;
    return false;
}

static int search(struct search *s, struct arena *arena)
{
    const struct header_list *h = &s->mail->header;
    int rc = s->mail->n_rcpts > 0 ? collect(s, arena) : 0;

    for (size_t i = 0; i < s->mail->n_rcpts; i++)
        s->hidden[i] = true;
    for (size_t i = 0; rc == 0 && s->n > 0 && i < h->n; i++)
        if (names_recipients(&h->f[i]))
            rc = strike_field(s, h->f[i].value);
    return rc;
}

int mail_hidden_rcpts(const struct mail *m, struct arena *arena, bool **hidden_r)
{
    struct search s = {.mail = m};
    struct arena keys;
    int rc = BARID_ENOMEM;

    arena_init(&keys, arena->mem, 0);
    arena_init(&s.one, arena->mem, 0);
    s.hidden = arena_alloc(arena, m->n_rcpts);
    if (s.hidden != NULL)
        rc = search(&s, &keys);
    if (rc == 0)
        *hidden_r = s.hidden;
    arena_deinit(&keys);
    arena_deinit(&s.one);
    return rc;
}
