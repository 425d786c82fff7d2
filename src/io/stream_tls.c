/*
 * io/stream_tls.c: TLS as a layer of a stream.
 *
 * OpenSSL reads straight from the loop's read buffer and writes straight to the socket through
 * a BIO of our own, so that nothing is held between two turns but a partial record (in OpenSSL)
 * and, when the owner stopped reading in the middle of input, the rest of that (kept).
 *
 * States: handshake -> open -> failed; handshake -> failed. After failed only deletion is left.
 * on_tls ends the handshake; with an error it is the last callback.
 */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/mem.h"
#include "base/slice.h"
#include "io/stream_int.h"
#include "io/tls_int.h"

/* A subject longer than this is cut: it goes into log lines and a header field. */
#define TLS_SUBJECT_MAX 256

enum tls_state { TLS_HANDSHAKE, TLS_OPEN, TLS_FAILED };

struct stream_tls {
    struct stream_layer layer; /* first */
    struct tls_ctx *ctx;
    SSL *ssl;
    const char *in; /* what the BIO reads; NULL outside process() */
    size_t in_n;
    struct buf kept; /* input that the owner has not read yet */
    enum tls_state state;
    bool eof; /* the socket's input ended */
};

static struct stream_tls *tls_of(const struct stream *s)
{
    return (struct stream_tls *)s->layer;
}

static int bio_read(BIO *bio, char *p, int n)
{
    struct stream_tls *t = tls_of(BIO_get_data(bio));
    size_t take = t->in_n < (size_t)n ? t->in_n : (size_t)n;

    BIO_clear_retry_flags(bio);
    if (take == 0) {
        if (!t->eof)
            BIO_set_retry_read(bio);
        return t->eof ? 0 : -1;
    }
    memcpy(p, t->in, take);
    t->in += take;
    t->in_n -= take;
    return (int)take;
}

/* The owner's octets are bounded by stream_write; what TLS says by itself (answers to key updates
 * that a peer may ask for without end) is bounded here. Above it the stream breaks. */
#define TLS_BACKLOG_MAX (STREAM_BACKLOG_MAX + ((size_t)64 << 10))

static int bio_write(BIO *bio, const char *p, int n)
{
    BIO_clear_retry_flags(bio);
    if (stream_backlog(BIO_get_data(bio)) > TLS_BACKLOG_MAX)
        return -1;
    return n >= 0 && stream_send(BIO_get_data(bio), p, (size_t)n) == 0 ? n : -1;
}

static long bio_ctrl(BIO *bio, int command, long num, void *ptr)
{
    struct stream_tls *t = tls_of(BIO_get_data(bio));

    (void)num, (void)ptr;
    if (command == BIO_CTRL_EOF)
        return t->eof && t->in_n == 0;
    return command == BIO_CTRL_FLUSH;
}

int tls_bio_setup(BIO_METHOD *m)
{
    return BIO_meth_set_read(m, bio_read) == 1 && BIO_meth_set_write(m, bio_write) == 1 &&
                   BIO_meth_set_ctrl(m, bio_ctrl) == 1
               ? 0
               : BARID_ENOMEM;
}

/* The verified subject in RFC 4514 form, cut to fit. */
static barid_slice peer_subject(SSL *ssl, char *out, size_t n)
{
    X509 *cert = SSL_get1_peer_certificate(ssl);
    BIO *mem =
        cert != NULL && SSL_get_verify_result(ssl) == X509_V_OK ? BIO_new(BIO_s_mem()) : NULL;
    int len = 0;

    if (mem != NULL &&
        X509_NAME_print_ex(mem, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253) >= 0)
        len = BIO_read(mem, out, (int)n);
    BIO_free(mem);
    X509_free(cert);
    return slice_of(out, len > 0 ? (size_t)len : 0);
}

static void handshake_done(struct stream *s)
{
    struct stream_tls *t = tls_of(s);
    char subject[TLS_SUBJECT_MAX];
    barid_tls_info info = {
        .version = slice_str(SSL_get_version(t->ssl)),
        .cipher = slice_str(SSL_get_cipher_name(t->ssl)),
        .bits = (unsigned)SSL_get_cipher_bits(t->ssl, NULL),
        .sni = slice_str(SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name)),
    };

    if (t->ctx->verify)
        info.peer_subject = peer_subject(t->ssl, subject, sizeof(subject));
    t->state = TLS_OPEN;
    s->layer_reads = false;
    stream_poll(s, true);
    if (s->ops != NULL && s->ops->on_tls != NULL)
        s->ops->on_tls(s->user, &info, NULL);
}

static void handshake_failed(struct stream *s, int code, const char *reason)
{
    struct stream_tls *t = tls_of(s);
    long verify = t->ctx->server ? X509_V_OK : SSL_get_verify_result(t->ssl);
    struct err err;

    err_set(&err, code, "TLS handshake failed: %s%s%s", reason,
            verify != X509_V_OK && t->ctx->verify ? ": " : "",
            verify != X509_V_OK && t->ctx->verify ? X509_verify_cert_error_string(verify) : "");
    t->state = TLS_FAILED;
    s->layer_reads = false;
    s->ended = true;
    stream_poll(s, false);
    if (s->ops != NULL && s->ops->on_tls != NULL)
        s->ops->on_tls(s->user, NULL, &err);
}

static void tls_fail(struct stream *s, int ssl_error)
{
    struct stream_tls *t = tls_of(s);
    bool cut = t->eof || ssl_error == SSL_ERROR_SYSCALL;
    const char *reason = tls_reason("connection closed");

    if (t->state == TLS_HANDSHAKE) {
        handshake_failed(s, cut ? BARID_ECLOSED : BARID_EIO,
                         cut ? "connection closed" : reason);
        return;
    }
    t->state = TLS_FAILED;
    log_record(loop_log(s->loop), LOG_LEVEL_DEBUG, "tls", "connection broken",
               LOG_CSTR("reason", reason));
    stream_end(s, cut ? BARID_ECLOSED : BARID_EIO);
}

/* One step; true when there may be another. */
static bool step(struct stream *s)
{
    struct stream_tls *t = tls_of(s);
    char *plain = s->loop->plain_buf;
    int n, e;

    ERR_clear_error();
    if (t->state == TLS_HANDSHAKE) {
        n = SSL_do_handshake(t->ssl);
        if (n == 1) {
            handshake_done(s);
            return true;
        }
    } else {
        n = SSL_read(t->ssl, plain, LOOP_PLAIN_SIZE);
        if (n > 0) {
            stream_deliver(s, plain, (size_t)n);
            mem_wipe(plain, (size_t)n); /* may have been a password */
            return true;
        }
    }
    e = SSL_get_error(t->ssl, n);
    if (e == SSL_ERROR_ZERO_RETURN && t->state == TLS_OPEN)
        stream_end(s, 0);
    else if (e != SSL_ERROR_WANT_READ)
        tls_fail(s, e);
    return false;
}

static bool may_step(const struct stream *s)
{
    const struct stream_tls *t = tls_of(s);

    return s->state == STREAM_OPEN && !s->ended &&
           (t->state == TLS_HANDSHAKE || (t->state == TLS_OPEN && s->reading));
}

static void process(struct stream *s, const char *p, size_t n)
{
    struct stream_tls *t = tls_of(s);

    t->in = p;
    t->in_n = n;
    while (may_step(s) && step(s))
        ;
}

static void tls_resume(struct stream *s)
{
    struct stream_tls *t = tls_of(s);

    process(s, t->kept.p, t->kept.len);
    if (t->in_n == 0)
        buf_deinit(&t->kept);
    else
        buf_consume(&t->kept, t->kept.len - t->in_n);
    t->in = NULL;
    t->in_n = 0;
}

static void tls_input(struct stream *s, const char *p, size_t n)
{
    struct stream_tls *t = tls_of(s);
    int rc = 0;

    if (t->kept.len > 0) { /* a resume is due: order matters */
        rc = buf_append(&t->kept, slice_of(p, n));
        if (rc == 0)
            tls_resume(s);
    } else {
        process(s, p, n);
        if (t->in_n > 0 && s->state == STREAM_OPEN && !s->ended)
            rc = buf_append(&t->kept, slice_of(t->in, t->in_n));
        t->in = NULL;
        t->in_n = 0;
    }
    if (rc != 0) {
        t->state = TLS_FAILED;
        stream_end(s, rc);
    }
}

static void tls_end(struct stream *s, int err)
{
    struct stream_tls *t = tls_of(s);

    t->eof = true;
    if (err == 0)
        tls_resume(s); /* tells whether close_notify came before */
    else if (t->state == TLS_HANDSHAKE)
        handshake_failed(s, err, barid_strerror(err));
    else
        stream_end(s, err);
}

static int tls_write(struct stream *s, const void *p, size_t n)
{
    struct stream_tls *t = tls_of(s);
    int e = 0;

    if (t->state != TLS_OPEN)
        return t->state == TLS_HANDSHAKE ? BARID_EINVALID : BARID_ECLOSED;
    ERR_clear_error();
    if (SSL_write(t->ssl, p, (int)n) == (int)n)
        return 0;
    e = s->error != 0 ? s->error : BARID_EIO;
    ERR_clear_error();
    t->state = TLS_FAILED;
    s->error = e;
    stream_defer(s);
    return e == BARID_ENOMEM ? BARID_ENOMEM : BARID_ECLOSED;
}

static bool tls_waiting(const struct stream *s)
{
    const struct stream_tls *t = tls_of(s);

    return t->kept.len > 0 || SSL_pending(t->ssl) > 0 || t->eof;
}

static void tls_close(struct stream *s)
{
    struct stream_tls *t = tls_of(s);

    if (t->state != TLS_OPEN)
        return;
    ERR_clear_error();
    SSL_shutdown(t->ssl); /* sends close_notify; the answer is not waited for */
    ERR_clear_error();
}

static void tls_del(struct stream_layer *layer)
{
    struct stream_tls *t = (struct stream_tls *)layer;

    SSL_free(t->ssl);
    buf_wipe(&t->kept);
    tls_unref(&t->ctx);
    mem_free(NULL, t);
}

static const struct stream_layer_ops tls_ops = {tls_input,   tls_end,   tls_write, tls_resume,
                                                tls_waiting, tls_close, tls_del};

static int tls_make(struct stream *s, struct tls_ctx *ctx)
{
    struct stream_tls *t = mem_zalloc(NULL, sizeof(*t));
    BIO *bio = BIO_new(ctx->bio);

    if (t == NULL || bio == NULL || loop_plain_buf(s->loop) == NULL ||
        (t->ssl = SSL_new(ctx->ssl)) == NULL) {
        BIO_free(bio);
        mem_free(NULL, t);
        ERR_clear_error();
        return BARID_ENOMEM;
    }
    BIO_set_data(bio, s);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio);
    t->ctx = tls_ref(ctx);
    t->layer.ops = &tls_ops;
    buf_init(&t->kept, NULL, 0);
    s->layer = &t->layer;
    s->layer_reads = true;
    return 0;
}

int stream_tls_accept(struct stream *s, struct tls_ctx *ctx)
{
    int rc;

    if (s->state != STREAM_OPEN || s->layer != NULL || !ctx->server)
        return BARID_EINVALID;
    if (s->error != 0 || s->ended)
        return BARID_ECLOSED;
    if ((rc = tls_make(s, ctx)) != 0)
        return rc;
    SSL_set_accept_state(tls_of(s)->ssl);
    stream_poll(s, true);
    return 0;
}

int stream_tls_accept_early(struct stream *s, struct tls_ctx *ctx, const void *early, size_t n)
{
    struct stream_tls *t;
    int rc = stream_tls_accept(s, ctx);

    if (rc != 0 || n == 0)
        return rc;
    t = tls_of(s);
    rc = buf_append(&t->kept, slice_of(early, n)); /* before what the socket still has */
    if (rc == 0) {
        stream_defer(s);
        return 0;
    }
    s->layer = NULL;
    s->layer_reads = false;
    tls_del(&t->layer);
    return rc;
}

/* The name to ask for and, if verifying, to find in the certificate. An address is no server
 * name (RFC 6066 3). */
static int set_name(struct stream_tls *t, const char *name)
{
    uint8_t ip[16];
    bool is_ip = inet_pton(AF_INET, name, ip) == 1 || inet_pton(AF_INET6, name, ip) == 1;
    X509_VERIFY_PARAM *param = SSL_get0_param(t->ssl);

    if (!is_ip && SSL_set_tlsext_host_name(t->ssl, name) != 1)
        return BARID_ENOMEM;
    if (!t->ctx->verify)
        return 0;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return (is_ip ? X509_VERIFY_PARAM_set1_ip_asc(param, name)
                  : X509_VERIFY_PARAM_set1_host(param, name, 0)) == 1
               ? 0
               : BARID_ENOMEM;
}

int stream_tls_connect(struct stream *s, struct tls_ctx *ctx, const char *server_name)
{
    struct stream_tls *t;
    int rc;

    /* Without a name there is nothing that a certificate could prove. */
    if (s->state != STREAM_OPEN || s->layer != NULL || ctx->server ||
        (ctx->verify && server_name == NULL))
        return BARID_EINVALID;
    if (s->error != 0 || s->ended)
        return BARID_ECLOSED;
    if ((rc = tls_make(s, ctx)) != 0)
        return rc;
    t = tls_of(s);
    SSL_set_connect_state(t->ssl);
    if (server_name != NULL && (rc = set_name(t, server_name)) != 0) {
        s->layer = NULL;
        s->layer_reads = false;
        tls_del(&t->layer);
        ERR_clear_error();
        return rc;
    }
    stream_poll(s, true);
    stream_defer(s); /* the first flight goes out at the end of this turn */
    return 0;
}
