/*
 * smtp/client_data.c: the message itself, by DATA or BDAT (RFC 3030), and what the server says
 * to it: one reply in SMTP, one per accepted recipient in LMTP (RFC 2033 4.2), with PRDR a 353,
 * one per accepted recipient, and one for all.
 *
 * BDAT chunks go out ahead of their replies, up to CLIENT_CHUNKS, but in LMTP and PRDR one at a
 * time: what replies follow a last chunk whose forerunner failed is not settled.
 */
#include "smtp/client_int.h"

#include <stdio.h>

#include "base/slice.h"

static bool per_recipient(const struct barid_client *c)
{
    return c->config->protocol == BARID_LMTP || c->use_prdr;
}

static size_t chunk_size(const struct barid_client *c)
{
    return c->config->chunk > 0 ? c->config->chunk : BARID_CLIENT_CHUNK_DEFAULT;
}

void client_want_body(struct barid_client *c)
{
    size_t window = 1;

    if (c->phase != PHASE_BODY || c->body.asked || c->body.ended || c->body.failed)
        return;
    if (client_can(c, BARID_EXT_PIPELINING) && !c->config->no_pipelining && !per_recipient(c))
        window = CLIENT_CHUNKS;
    if (c->body.chunks >= window || c->out.len >= chunk_size(c))
        return;
    c->body.asked = true;
    c->pending |= 1u << BARID_CLIENT_WANT_BODY;
}

static void show_size(struct barid_client *c, size_t n)
{
    char text[64];

    snprintf(text, sizeof(text), "[%zu octets]", n);
    client_transcript(c, false, slice_str(text));
}

/* The message cannot be sent. In DATA nothing but closing can stop it; between chunks RSET
 * can. */
static void body_refused(struct barid_client *c)
{
    client_decide_local(c, 550, "5.6.11", "the message has a bare CR or LF");
    if (!c->use_bdat)
        client_lost(c, BARID_ESYNTAX);
    else if (c->body.chunks == 0)
        client_finish(c, true);
    else
        c->body.failed = true;
}

static int put_data(struct barid_client *c, barid_slice piece, bool last)
{
    size_t before = c->out.len;
    int r = client_body_put(c, &c->out, piece, last);

    if (r == 0 && last)
        r = buf_str(&c->out, ".\r\n");
    if (r == 0)
        show_size(c, c->out.len - before);
    return r;
}

static int put_chunk(struct barid_client *c, barid_slice piece, bool last)
{
    struct buf chunk;
    char command[48];
    int r;

    buf_init(&chunk, c->mem, 0);
    if ((r = client_body_put(c, &chunk, piece, last)) == 0 && (chunk.len > 0 || last)) {
        snprintf(command, sizeof(command), "BDAT %zu%s", chunk.len, last ? " LAST" : "");
        if ((r = buf_reserve(&c->out, chunk.len + sizeof(command) + 2)) == 0) {
            client_line(c, slice_str(command), (barid_slice){0});
            (void)buf_append(&c->out, buf_slice(&chunk));
            show_size(c, chunk.len);
            c->body.chunks++;
        }
    }
    buf_deinit(&chunk);
    return r;
}

int barid_client_body(barid_client *c, const void *p, size_t n, bool last, uint64_t now_ms)
{
    int r;

    c->now = now_ms;
    /* The mail may be over since WANT_BODY was raised: then nobody needs the piece. */
    if (c->phase != PHASE_BODY)
        return 0;
    if (!c->body.asked || (c->pending & 1u << BARID_CLIENT_WANT_BODY) || n > chunk_size(c))
        return BARID_EINVALID;
    c->body.asked = false;
    if (c->body.failed)
        return 0;
    r = c->use_bdat ? put_chunk(c, slice_of(p, n), last) : put_data(c, slice_of(p, n), last);
    if (r == BARID_ESYNTAX) {
        body_refused(c);
    } else if (r < 0) {
        client_lost(c, r);
    } else if (last) {
        c->body.ended = true;
        client_enter(c, PHASE_FINAL);
    } else {
        client_enter(c, PHASE_BODY); /* the server has something to do: the deadline runs */
    }
    return 0;
}

/* A reply to a chunk that is not the last. */
static void chunk_reply(struct barid_client *c)
{
    c->body.chunks--;
    if (c->reply.code / 100 != 2 && !c->body.failed) {
        client_decide_all(c, BARID_STAGE_DATA);
        c->body.failed = true;
    }
    if (c->body.failed && c->body.chunks == 0)
        client_finish(c, true);
}

void client_reply_body(struct barid_client *c)
{
    if (c->use_bdat && c->body.chunks > 0)
        chunk_reply(c);
    else if (c->reply.code >= 400)
        client_lost_reply(c); /* it gave up within DATA; there is no way to go on */
    else
        client_lost(c, BARID_ESYNTAX);
}

/* --- replies to the whole ----------------------------------------------------------------- */

/* The next recipient that waits for a reply, or n_rcpts. */
static size_t next_waiting(const struct barid_client *c, size_t at)
{
    while (at < c->mail->n_rcpts && !c->rcpts[at].accepted)
        at++;
    return at;
}

/* One of the replies per recipient. True when it was the last of them. */
static bool recipient_reply(struct barid_client *c)
{
    size_t at = next_waiting(c, c->final);

    client_decide(c, at, BARID_STAGE_FINAL);
    c->final = at + 1;
    return next_waiting(c, c->final) == c->mail->n_rcpts;
}

/* The last reply of PRDR, for the message as a whole: a refusal takes back what was
 * accepted. */
static void prdr_end(struct barid_client *c)
{
    if (c->reply.code / 100 != 2)
        client_take_back(c);
    client_decide_all(c, BARID_STAGE_FINAL);
    client_finish(c, false);
}

static void prdr_reply(struct barid_client *c)
{
    if (!c->prdr_begun && c->reply.code == 353) {
        c->prdr_begun = true;
    } else if (!c->prdr_begun) {
        client_decide_all(c, BARID_STAGE_FINAL); /* all of one mind: the plain form */
        client_finish(c, false);
    } else if (next_waiting(c, c->final) < c->mail->n_rcpts) {
        (void)recipient_reply(c);
    } else {
        prdr_end(c);
    }
}

void client_reply_final(struct barid_client *c)
{
    if (c->use_bdat && c->body.chunks > 1) {
        chunk_reply(c);
    } else if (c->body.failed) { /* the last chunk after one that was refused */
        client_finish(c, true);
    } else if (c->accepted == 0) { /* the empty message that ends a DATA for nobody */
        client_finish(c, false);
    } else if (c->config->protocol == BARID_LMTP) {
        if (recipient_reply(c))
            client_finish(c, false);
    } else if (c->use_prdr) {
        prdr_reply(c);
    } else {
        client_decide_all(c, BARID_STAGE_FINAL);
        client_finish(c, false);
    }
}
