/* TLS over socket pairs: handshakes that succeed and fail, names, cuts, truncation, pausing,
 * memory. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <malloc.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "io/io_testing.h"
#include "io/tls_int.h"
#include "io/tls_testing.h"

struct fixture {
    struct certs certs;
    struct loop *loop;
    struct tls_ctx *server, *client; /* the client does not verify */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct tls_sni sni = {"*.example.net", f->certs.cert2, f->certs.key2};
    struct tls_server_options o = {
        .cert_file = f->certs.cert, .key_file = f->certs.key, .sni = &sni, .n_sni = 1};
    struct tls_client_options none = {TLS_VERIFY_NONE, NULL};

    certs_make(&f->certs);
    assert_int_equal(loop_new(&f->loop, NULL, NULL, NULL), 0);
    assert_int_equal(tls_server_new(&f->server, &o, NULL), 0);
    assert_int_equal(tls_client_new(&f->client, &none, NULL), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    loop_del(&f->loop);
    tls_unref(&f->server);
    tls_unref(&f->client);
    certs_remove(&f->certs);
    free(f);
    return 0;
}

static void open_pair(struct fixture *f, struct owner *s, struct owner *c)
{
    int fds[2];

    make_pair(fds);
    owner_open(s, f->loop, fds[0]);
    owner_open(c, f->loop, fds[1]);
}

static void handshake(struct fixture *f, struct owner *s, struct owner *c,
                      struct tls_ctx *server, struct tls_ctx *client, const char *name)
{
    open_pair(f, s, c);
    assert_int_equal(stream_tls_accept(s->s, server), 0);
    assert_int_equal(stream_tls_connect(c->s, client, name), 0);
    assert_int_equal(s->handshakes + c->handshakes, 0);
    TURN_UNTIL(f->loop, s->handshakes == 1 && c->handshakes == 1);
}

static void close_both(struct owner *s, struct owner *c)
{
    owner_close(s);
    owner_close(c);
}

static void test_handshake(void **state)
{
    struct fixture *f = *state;
    struct owner s, c;

    handshake(f, &s, &c, f->server, f->client, "mail.example.org");
    assert_true(s.tls_ok && c.tls_ok);
    assert_string_equal(s.tls_version, "TLSv1.3");
    assert_string_equal(s.tls_sni, "mail.example.org");
    assert_string_equal(s.tls_subject, "");
    assert_true(stream_is_tls(s.s));
    assert_int_equal(stream_write(c.s, "EHLO x\r\n", 8), 0);
    assert_int_equal(stream_write(s.s, "250 y\r\n", 7), 0);
    TURN_UNTIL(f->loop, s.reads > 0 && c.reads > 0);
    assert_true(owner_got(&s, "EHLO x\r\n"));
    assert_true(owner_got(&c, "250 y\r\n"));
    stream_del(&c.s); /* close_notify: an orderly end */
    TURN_UNTIL(f->loop, s.closes > 0);
    assert_int_equal(s.close_err, 0);
    close_both(&s, &c);
}

static void test_misuse(void **state)
{
    struct fixture *f = *state;
    struct owner s, c;
    struct tls_client_options verify = {TLS_VERIFY_PEER, f->certs.cert};
    struct tls_ctx *ctx;

    open_pair(f, &s, &c);
    assert_int_equal(tls_client_new(&ctx, &verify, NULL), 0);
    assert_int_equal(stream_tls_accept(s.s, f->client), BARID_EINVALID);
    assert_int_equal(stream_tls_connect(c.s, f->server, "x"), BARID_EINVALID);
    assert_int_equal(stream_tls_connect(c.s, ctx, NULL), BARID_EINVALID);
    assert_int_equal(stream_tls_accept(s.s, f->server), 0);
    assert_int_equal(stream_tls_accept(s.s, f->server), BARID_EINVALID);
    assert_int_equal(stream_write(s.s, "x", 1), BARID_EINVALID);
    tls_unref(&ctx);
    close_both(&s, &c);
}

static void test_server_name_selects_certificate(void **state)
{
    static const struct {
        const char *name, *ca;
        bool ok;
    } rows[] = {{"mx.example.com", "cert", true},     {"other.example.net", "cert2", true},
                {"other.example.net", "cert", false}, {"mx.example.com", "cert2", false},
                {"wrong.example.com", "cert", false}, {"127.0.0.1", "cert", true},
                {"127.0.0.2", "cert", false}};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tls_client_options o = {
            TLS_VERIFY_PEER, strcmp(rows[i].ca, "cert") == 0 ? f->certs.cert : f->certs.cert2};
        struct tls_ctx *ctx;
        struct owner s, c;

        assert_int_equal(tls_client_new(&ctx, &o, NULL), 0);
        handshake(f, &s, &c, f->server, ctx, rows[i].name);
        assert_int_equal(c.tls_ok, rows[i].ok);
        if (!rows[i].ok) {
            assert_non_null(
                strstr(c.tls_error, "TLS handshake failed: certificate verify failed: "));
            turn_some(f->loop);
            assert_int_equal(c.closes, 0); /* on_tls was the last word */
            assert_int_equal(stream_write(c.s, "x", 1), BARID_ECLOSED);
        } else {
            assert_memory_equal(c.tls_subject, "CN=", 3);
            assert_true(s.tls_ok);
        }
        tls_unref(&ctx); /* the stream holds its own */
        close_both(&s, &c);
    }
}

/* "dir/01234567.0", as a directory of authorities has it. */
static void name_by_hash(const char *dir, const char *cert, char path[128])
{
    FILE *in = fopen(cert, "r");
    X509 *x = PEM_read_X509(in, NULL, NULL, NULL);

    assert_non_null(x);
    snprintf(path, 128, "%s/%08lx.0", dir, X509_subject_name_hash(x));
    X509_free(x);
    fclose(in);
}

static void test_directory_of_authorities(void **state)
{
    struct fixture *f = *state;
    char link[128];

    name_by_hash(f->certs.dir, f->certs.cert, link);
    for (int i = 0; i < 2; i++) {
        struct tls_client_options o = {TLS_VERIFY_PEER, f->certs.dir};
        struct tls_ctx *ctx;
        struct owner s, c;

        if (i == 1)
            assert_int_equal(symlink(f->certs.cert, link), 0);
        assert_int_equal(tls_client_new(&ctx, &o, NULL), 0);
        handshake(f, &s, &c, f->server, ctx, "mx.example.com");
        assert_int_equal(c.tls_ok, i == 1);
        tls_unref(&ctx);
        close_both(&s, &c);
    }
    unlink(link);
}

static void test_not_tls(void **state)
{
    struct fixture *f = *state;
    struct owner s;
    int fds[2];

    make_pair(fds);
    owner_open(&s, f->loop, fds[0]);
    assert_int_equal(stream_tls_accept(s.s, f->server), 0);
    assert_int_equal(write(fds[1], "EHLO in the clear\r\n", 19), 19);
    TURN_UNTIL(f->loop, s.handshakes == 1);
    assert_false(s.tls_ok);
    assert_int_equal(s.in.len, 0); /* never plaintext */
    assert_non_null(strstr(s.tls_error, "TLS handshake failed: "));
    assert_int_equal(ERR_peek_error(), 0);
    owner_close(&s);
    close(fds[1]);
}

static void test_closed_during_handshake(void **state)
{
    struct fixture *f = *state;

    for (int deletes = 0; deletes < 2; deletes++) {
        struct owner s;
        int fds[2];

        make_pair(fds);
        owner_open(&s, f->loop, fds[0]);
        s.del_on_tls = deletes;
        assert_int_equal(stream_tls_accept(s.s, f->server), 0);
        assert_int_equal(write(fds[1], "\x16\x03\x01", 3), 3);
        close(fds[1]);
        TURN_UNTIL(f->loop, s.handshakes == 1);
        assert_false(s.tls_ok);
        assert_non_null(strstr(s.tls_error, "connection closed"));
        turn_some(f->loop);
        assert_int_equal(s.closes, 0);
        owner_close(&s);
    }
}

/* A peer that talks TLS by hand: everything the server says and hears goes through two memory
 * BIOs. */
struct hand {
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in, *out;
    int fd;
};

static void hand_make(struct hand *h, int fd)
{
    h->ctx = SSL_CTX_new(TLS_client_method());
    h->ssl = SSL_new(h->ctx);
    h->in = BIO_new(BIO_s_mem());
    h->out = BIO_new(BIO_s_mem());
    SSL_set_bio(h->ssl, h->in, h->out);
    SSL_set_connect_state(h->ssl);
    h->fd = fd;
}

static void hand_del(struct hand *h)
{
    SSL_free(h->ssl);
    SSL_CTX_free(h->ctx);
    close(h->fd);
}

/* Everything that the client has to send, in pieces of at most cut octets. */
static void hand_send(struct hand *h, struct loop *loop, size_t cut)
{
    char p[4096];

    for (;;) {
        int n = BIO_read(h->out, p, cut < sizeof(p) ? (int)cut : (int)sizeof(p));

        if (n <= 0)
            return;
        assert_int_equal(write(h->fd, p, (size_t)n), n);
        loop_turn(loop, false);
    }
}

static void hand_receive(struct hand *h)
{
    char p[4096];
    ssize_t n;

    while ((n = recv(h->fd, p, sizeof(p), MSG_DONTWAIT)) > 0)
        BIO_write(h->in, p, (int)n);
}

static void hand_shake(struct hand *h, struct loop *loop, size_t cut)
{
    for (int i = 0; i < 100 && SSL_do_handshake(h->ssl) != 1; i++) {
        hand_send(h, loop, cut);
        turn_some(loop);
        hand_receive(h);
    }
    hand_send(h, loop, cut);
    assert_true(SSL_is_init_finished(h->ssl));
}

/* The same for any cutting of the stream; and an end without close_notify is told from an
 * orderly one. */
static void test_cuts_and_truncation(void **state)
{
    static const size_t cuts[] = {1, 7, 100, 4096};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        struct owner s;
        struct hand h;
        int fds[2];

        make_pair(fds);
        owner_open(&s, f->loop, fds[0]);
        assert_int_equal(stream_tls_accept(s.s, f->server), 0);
        hand_make(&h, fds[1]);
        hand_shake(&h, f->loop, cuts[i]);
        turn_some(f->loop);
        assert_int_equal(s.handshakes, 1);
        assert_true(s.tls_ok);
        SSL_write(h.ssl, "MAIL FROM:<>\r\n", 14);
        SSL_write(h.ssl, "DATA\r\n", 6);
        hand_send(&h, f->loop, cuts[i]);
        turn_some(f->loop);
        assert_true(owner_got(&s, "MAIL FROM:<>\r\nDATA\r\n"));
        if (i % 2 == 0) { /* cut off */
            hand_del(&h);
            TURN_UNTIL(f->loop, s.closes > 0);
            assert_int_equal(s.close_err, BARID_ECLOSED);
        } else {
            SSL_shutdown(h.ssl);
            hand_send(&h, f->loop, cuts[i]);
            TURN_UNTIL(f->loop, s.closes > 0);
            assert_int_equal(s.close_err, 0);
            assert_int_equal(stream_write(s.s, "221 x\r\n", 7),
                             0); /* the way out is still open */
            hand_del(&h);
        }
        turn_some(f->loop);
        assert_int_equal(s.closes, 1);
        owner_close(&s);
    }
}

/* The first flight was read already, whole or in part, as behind a PROXY header. */
static void test_early_input(void **state)
{
    static const int parts[] = {1, 50, 4096};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        struct owner s;
        struct hand h;
        char early[4096];
        int fds[2], n;

        make_pair(fds);
        owner_open(&s, f->loop, fds[0]);
        hand_make(&h, fds[1]);
        assert_int_equal(SSL_do_handshake(h.ssl), -1);
        n = BIO_read(h.out, early, parts[i]);
        assert_true(n > 0);
        assert_int_equal(stream_tls_accept_early(s.s, f->server, early, (size_t)n), 0);
        memset(early, 0, sizeof(early)); /* it was copied */
        hand_send(&h, f->loop, 4096);
        turn_some(f->loop);
        hand_receive(&h);
        hand_shake(&h, f->loop, 4096);
        turn_some(f->loop);
        assert_int_equal(s.handshakes, 1);
        assert_true(s.tls_ok);
        owner_close(&s);
        hand_del(&h);
    }
    {
        struct owner s;
        int fds[2];

        make_pair(fds);
        owner_open(&s, f->loop, fds[0]);
        assert_int_equal(stream_tls_accept_early(s.s, f->server, "EHLO x\r\n", 8), 0);
        assert_int_equal(s.handshakes, 0); /* never from within */
        turn_some(f->loop);
        assert_int_equal(s.handshakes, 1);
        assert_false(s.tls_ok);
        owner_close(&s);
        close(fds[1]);
    }
}

/* Garbage within an open session breaks it once, with an error. */
static void test_damaged_record(void **state)
{
    struct fixture *f = *state;
    struct owner s;
    struct hand h;
    int fds[2];

    make_pair(fds);
    owner_open(&s, f->loop, fds[0]);
    assert_int_equal(stream_tls_accept(s.s, f->server), 0);
    hand_make(&h, fds[1]);
    hand_shake(&h, f->loop, 4096);
    turn_some(f->loop);
    assert_int_equal(write(fds[1],
                           "\x17\x03\x03\x00\x20"
                           "0123456789012345678901234567890123456789",
                           37),
                     37);
    TURN_UNTIL(f->loop, s.closes > 0);
    assert_int_equal(s.close_err, BARID_EIO);
    assert_int_equal(s.in.len, 0);
    assert_int_equal(stream_write(s.s, "x", 1), BARID_ECLOSED);
    owner_close(&s);
    hand_del(&h);
}

/* A peer that asks for new keys again and again and reads none of the answers: bounded memory,
 * then the end. */
static void test_key_update_flood(void **state)
{
    struct fixture *f = *state;
    struct owner s;
    struct hand h;
    size_t most = 0;
    int fds[2];

    make_pair(fds);
    owner_open(&s, f->loop, fds[0]);
    assert_int_equal(stream_tls_accept(s.s, f->server), 0);
    hand_make(&h, fds[1]);
    hand_shake(&h, f->loop, 4096);
    turn_some(f->loop);
    for (int i = 0; i < 200000 && s.closes == 0; i++) {
        if (SSL_key_update(h.ssl, SSL_KEY_UPDATE_REQUESTED) != 1 ||
            SSL_do_handshake(h.ssl) != 1)
            break;
        if (i % 64 != 0)
            continue; /* some at a time */
        hand_send(&h, f->loop, 4096);
        most = stream_backlog(s.s) > most ? stream_backlog(s.s) : most;
    }
    TURN_UNTIL(f->loop, s.closes > 0);
    assert_true(most <= STREAM_BACKLOG_MAX + ((size_t)128 << 10));
    assert_true(most > STREAM_BACKLOG_MAX / 2); /* it was a flood */
    assert_int_not_equal(s.close_err, 0);
    owner_close(&s);
    hand_del(&h);
}

/* Stopping in the middle of what one read brought: the rest comes after reading is on again,
 * nothing is lost. */
static void test_pause_in_the_middle(void **state)
{
    struct fixture *f = *state;
    struct owner s;
    struct hand h;
    int fds[2];

    make_pair(fds);
    owner_open(&s, f->loop, fds[0]);
    assert_int_equal(stream_tls_accept(s.s, f->server), 0);
    hand_make(&h, fds[1]);
    hand_shake(&h, f->loop, 4096);
    turn_some(f->loop);
    s.pause_on_read = true;
    for (int i = 0; i < 3; i++)
        SSL_write(h.ssl, "line\r\n", 6);
    hand_send(&h, f->loop, 4096); /* three records in one read */
    turn_some(f->loop);
    assert_int_equal(s.reads, 1);
    SSL_write(h.ssl, "last\r\n", 6);
    SSL_shutdown(h.ssl);
    hand_send(&h, f->loop, 4096);
    turn_some(f->loop);
    assert_int_equal(s.reads, 1);
    for (unsigned i = 2; i <= 4; i++) {
        stream_read(s.s, true);
        turn_some(f->loop);
        assert_int_equal(s.reads, i);
    }
    assert_true(owner_got(&s, "line\r\nline\r\nline\r\nlast\r\n"));
    assert_int_equal(s.closes, 0);
    stream_read(s.s, true);
    turn_some(f->loop);
    assert_int_equal(s.closes, 1);
    assert_int_equal(s.close_err, 0);
    owner_close(&s);
    hand_del(&h);
}

static void test_large_transfer(void **state)
{
    enum { SIZE = 900 * 1000 };
    struct fixture *f = *state;
    struct owner s, c;
    char *data = malloc(SIZE);

    for (size_t i = 0; i < SIZE; i++)
        data[i] = (char)(i * 31 + i / 509);
    handshake(f, &s, &c, f->server, f->client, NULL);
    assert_int_equal(stream_write(c.s, data, SIZE), 0);
    assert_true(stream_backlog(c.s) > 0);
    assert_int_equal(stream_write(c.s, data, SIZE), BARID_ELIMIT);
    stream_del(&c.s); /* flushes, then close_notify */
    TURN_UNTIL(f->loop, s.closes > 0);
    assert_int_equal(s.close_err, 0);
    assert_int_equal(s.in.len, SIZE);
    assert_memory_equal(s.in.p, data, SIZE);
    close_both(&s, &c);
    free(data);
}

static void test_delete_in_callbacks(void **state)
{
    struct fixture *f = *state;

    for (int which = 0; which < 3; which++) {
        struct owner s, c;

        open_pair(f, &s, &c);
        s.del_on_tls = which == 0;
        s.del_on_read = which == 1;
        s.del_on_close = which == 2;
        assert_int_equal(stream_tls_accept(s.s, f->server), 0);
        assert_int_equal(stream_tls_connect(c.s, f->client, "x"), 0);
        TURN_UNTIL(f->loop, c.handshakes == 1 && s.handshakes == 1);
        stream_write(c.s, "one", 3);
        stream_write(c.s, "two", 3);
        if (which == 2)
            stream_del(&c.s);
        TURN_UNTIL(f->loop, s.s == NULL);
        turn_some(f->loop);
        assert_int_equal(s.reads, which == 0 ? 0 : which == 1 ? 1 : 2);
        close_both(&s, &c);
    }
}

/* A client certificate is reported when it verifies, and is no obstacle when it does not. */
static void test_client_certificate(void **state)
{
    struct fixture *f = *state;

    for (int known = 0; known < 2; known++) {
        struct tls_server_options o = {.cert_file = f->certs.cert,
                                       .key_file = f->certs.key,
                                       .client_ca = known ? f->certs.cert2 : f->certs.cert};
        struct tls_ctx *server;
        struct owner s;
        struct hand h;
        int fds[2];

        assert_int_equal(tls_server_new(&server, &o, NULL), 0);
        make_pair(fds);
        owner_open(&s, f->loop, fds[0]);
        assert_int_equal(stream_tls_accept(s.s, server), 0);
        hand_make(&h, fds[1]);
        assert_int_equal(SSL_use_certificate_file(h.ssl, f->certs.cert2, SSL_FILETYPE_PEM), 1);
        assert_int_equal(SSL_use_PrivateKey_file(h.ssl, f->certs.key2, SSL_FILETYPE_PEM), 1);
        hand_shake(&h, f->loop, 4096);
        turn_some(f->loop);
        assert_true(s.tls_ok);
        assert_string_equal(s.tls_subject, known ? "CN=other.example.net" : "");
        tls_unref(&server);
        owner_close(&s);
        hand_del(&h);
    }
}

/* A ticket resumes: tickets are on, and need no memory of the server's. */
static void test_resumption(void **state)
{
    struct fixture *f = *state;
    SSL_SESSION *session = NULL;

    for (int round = 0; round < 2; round++) {
        struct owner s;
        struct hand h;
        char c;
        int fds[2];

        make_pair(fds);
        owner_open(&s, f->loop, fds[0]);
        assert_int_equal(stream_tls_accept(s.s, f->server), 0);
        hand_make(&h, fds[1]);
        if (session != NULL)
            SSL_set_session(h.ssl, session);
        hand_shake(&h, f->loop, 4096);
        turn_some(f->loop);
        hand_receive(&h);
        assert_int_equal(SSL_read(h.ssl, &c, 1), -1); /* takes the tickets in */
        assert_int_equal(SSL_session_reused(h.ssl), round);
        SSL_SESSION_free(session);
        session = SSL_get1_session(h.ssl);
        SSL_shutdown(h.ssl);
        owner_close(&s);
        hand_del(&h);
    }
    SSL_SESSION_free(session);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/* What an idle connection costs: the tested numbers. */
static void test_memory(void **state)
{
    enum { N = 50 };
    struct fixture *f = *state;
    static struct owner s[N], c[N];
    size_t before = mallinfo2().uordblks, plain, tls;

    for (int i = 0; i < N; i++)
        open_pair(f, &s[i], &c[i]);
    turn_some(f->loop);
    plain = (mallinfo2().uordblks - before) / (2 * N);
    before = mallinfo2().uordblks;
    for (int i = 0; i < N; i++) {
        assert_int_equal(stream_tls_accept(s[i].s, f->server), 0);
        assert_int_equal(stream_tls_connect(c[i].s, f->client, "mail.example.org"), 0);
    }
    for (int i = 0; i < N; i++)
        TURN_UNTIL(f->loop, s[i].handshakes == 1 && c[i].handshakes == 1);
    turn_some(f->loop);
    before = mallinfo2().uordblks;
    for (int i = 0; i < N; i++)
        owner_close(&c[i]);
    turn_some(f->loop);
    before = mallinfo2().uordblks;
    for (int i = 0; i < N; i++)
        owner_close(&s[i]);
    turn_some(f->loop);
    tls = (before - mallinfo2().uordblks) / N;
    print_message("idle plain stream %zu octets, idle TLS stream (server side) %zu octets\n",
                  plain, tls);
    assert_in_range(plain, 100, 600);
    assert_in_range(tls, 1000, 40 * 1024);
}
#endif

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_handshake),
        T(test_misuse),
        T(test_server_name_selects_certificate),
        T(test_directory_of_authorities),
        T(test_not_tls),
        T(test_closed_during_handshake),
        T(test_cuts_and_truncation),
        T(test_early_input),
        T(test_damaged_record),
        T(test_key_update_flood),
        T(test_pause_in_the_middle),
        T(test_large_transfer),
        T(test_delete_in_callbacks),
        T(test_client_certificate),
        T(test_resumption),
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        T(test_memory),
#endif
    };

    alarm(60);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
