/*
 * smtp/client_fuzz.c: a server that says anything. The first octets choose the configuration;
 * the rest are its replies, fed whole and byte by byte. Each mail that was begun is DONE after
 * exactly one RESULT per recipient, the session ends when the connection does, and both ways
 * agree.
 */
#include <stdlib.h>

#include "barid/client.h"
#include "base/buf.h"
#include "base/slice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RCPTS 3

struct host {
    barid_client *c;
    const barid_client_mail *mail;
    struct buf log;
    size_t results, mails, pieces;
    bool closed;
};

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void fill(void *user, void *p, size_t n)
{
    (void)user;
    memset(p, 3, n);
}

static void on_ready(struct host *h)
{
    h->results = h->pieces = 0;
    if (h->mails++ == 3)
        barid_client_quit(h->c, 0);
    else
        must(barid_client_send(h->c, h->mail, 0) == 0);
}

static void on_event(struct host *h, const barid_client_event *e)
{
    static const char body[] = "Subject: x\r\n\r\n.\r\nab";

    if (e->id == BARID_CLIENT_READY) {
        on_ready(h);
    } else if (e->id == BARID_CLIENT_WANT_BODY) {
        must(barid_client_body(h->c, body, sizeof(body) - 1, ++h->pieces == 3, 0) == 0);
    } else if (e->id == BARID_CLIENT_RESULT) {
        must(e->rcpt == h->results++ && (e->reply.code != 0) == (e->error == 0));
        buf_fmt(&h->log, "%d %u ", e->stage, e->reply.code);
        buf_append(&h->log, e->reply.text);
    } else if (e->id == BARID_CLIENT_DONE) {
        must(h->results == RCPTS);
        buf_str(&h->log, "done ");
    } else {
        must(e->id == BARID_CLIENT_CLOSED && !h->closed);
        h->closed = true;
        buf_fmt(&h->log, "closed %d %u %d", e->stage, e->reply.code, e->error);
    }
}

static void pump(struct host *h)
{
    barid_client_event e;
    const uint8_t *out;
    size_t n;

    do {
        while (barid_client_next(h->c, &e) == 1)
            on_event(h, &e);
        n = barid_client_output(h->c, &out);
        barid_client_sent(h->c, n, 0);
        if (barid_client_wants(h->c) & BARID_WANT_TLS)
            barid_client_tls_done(h->c, true, 0);
    } while (n > 0);
}

static void run(const barid_client_config *config, const barid_client_mail *mail,
                barid_slice in, size_t piece, struct buf *log)
{
    struct host h = {.mail = mail};

    buf_init(&h.log, NULL, 0);
    must(barid_client_new(&h.c, config, NULL, 0) == 0);
    pump(&h);
    while (in.n > 0) {
        (void)barid_client_feed(h.c, in.p, in.n < piece ? in.n : piece, 0);
        in = slice_from(in, piece);
        pump(&h);
    }
    barid_client_eof(h.c);
    pump(&h);
    must(h.closed && (barid_client_wants(h.c) & BARID_WANT_CLOSE));
    barid_client_del(&h.c);
    *log = h.log;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const barid_client_rcpt rcpts[RCPTS] = {
        {.address = {"b@x", 3}}, {.address = {"c@x", 3}}, {.address = {"d@x", 3}}};
    barid_client_config config = {.size = sizeof(config),
                                  .helo = BARID_S("me"),
                                  .random = fill,
                                  .password = BARID_S("pw"),
                                  .mechanisms_plain = 0xff,
                                  .mechanisms_secure = 0xff};
    barid_client_mail mail = {.sender = BARID_S("a@x"), .rcpts = rcpts, .n_rcpts = RCPTS};
    struct buf whole, bytes;
    bool tls;

    if (size < 2 || size > 8192)
        return 0;
    config.protocol = (enum barid_protocol)(data[0] % 3);
    tls = (data[0] & 4) != 0;
    config.tls = tls ? BARID_CLIENT_TLS_OPPORTUNISTIC : BARID_CLIENT_TLS_NONE;
    if (data[0] & 8)
        config.authcid = BARID_S("tim");
    config.no_pipelining = (data[0] & 16) != 0;
    config.no_chunking = (data[0] & 32) != 0;
    mail.params.prdr = (data[0] & 64) != 0;
    mail.params.body = (enum barid_body_type)(data[1] & 3);
    run(&config, &mail, slice_of(data + 2, size - 2), size, &whole);
    run(&config, &mail, slice_of(data + 2, size - 2), 1, &bytes);
    /* What follows the reply to STARTTLS is dropped with the piece it came in: then they may
     * differ. */
    must(tls || slice_eq(buf_slice(&whole), buf_slice(&bytes)));
    buf_deinit(&whole);
    buf_deinit(&bytes);
    return 0;
}
