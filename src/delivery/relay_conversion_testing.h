/* delivery/relay_conversion_testing.h: mail that has to be converted, what servers offer, and what arrives there. Test code only; cmocka.h
 * before it. */
#ifndef DELIVERY_RELAY_CONVERSION_TESTING_H
#define DELIVERY_RELAY_CONVERSION_TESTING_H

#include <string.h>

#include "base/slice.h"
#include "delivery/relay_testing.h"

#define PLAIN  "250-mx\r\n250-SIZE\r\n250 PIPELINING"
#define EIGHT  "250-mx\r\n250-SIZE\r\n250-8BITMIME\r\n250 PIPELINING"
#define CHUNKS "250-mx\r\n250-SIZE\r\n250-CHUNKING\r\n250 PIPELINING"
#define BINARY                                                                                 \
    "250-mx\r\n250-SIZE\r\n250-8BITMIME\r\n250-BINARYMIME\r\n250-CHUNKING\r\n250 PIPELINING"

#define MIME "Subject: x\r\nMIME-Version: 1.0\r\n"
#define TEXT                                                                                   \
    MIME "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
#define MIXED MIME "Content-Type: multipart/mixed; boundary=b\r\n"
#define A     "\xc3\xa4"

static const struct rule plain[] = {{"EHLO", PLAIN, 0}, {0}};
static const struct rule eight[] = {{"EHLO", EIGHT, 0}, {0}};

static const char umlauts[] = "h" A "llo w" A "rld, and a line to go with it\r\n.dot " A "\r\n";

static inline void begin(struct post *p, enum barid_body_type body)
{
    assert_true(post_begin(p, NULL));
    p->mail.params.body = body;
}

static inline struct parcel *parcel_of(struct post *p, const char *header, barid_slice body,
                                       size_t n)
{
    struct parcel *parcel = post_parcel(p, 0, "x.test", n);

    parcel->c.header = slice_str(header);
    parcel->body = body;
    parcel->c.body_size = body.n;
    return parcel;
}

static const char *deliver(struct parcel *parcel)
{
    assert_int_equal(post_send(parcel), 0);
    post_run(parcel);
    return parcel->log[0];
}

/* --- what arrived --- */

/* Its body behind the blank line, without the dots of DATA. */
static inline void arrived_body(const struct server *s, struct buf *body, bool by_data)
{
    const char *p = memmem(s->message.p, s->message.len, "\r\n\r\n", 4);
    barid_slice rest;

    assert_non_null(p);
    rest = slice_from(buf_slice(&s->message), (size_t)(p + 4 - s->message.p));
    for (size_t i = 0; i < rest.n; i++) {
        bool begins = i == 0 || rest.p[i - 1] == '\n';

        if (!(by_data && begins && rest.p[i] == '.'))
            buf_byte(body, rest.p[i]);
    }
}

static inline unsigned hex_digit(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'A' + 10);
}

static inline void quoted_decode(struct buf *out, barid_slice in)
{
    for (size_t i = 0; i < in.n; i++) {
        if (in.p[i] != '=') {
            buf_byte(out, in.p[i]);
            continue;
        }
        if (in.p[i + 1] != '\r')
            buf_byte(out, (char)(hex_digit(in.p[i + 1]) << 4 | hex_digit(in.p[i + 2])));
        i += 2;
    }
}

static inline bool message_has(const struct server *s, const char *words)
{
    return s->message.len > 0 &&
           memmem(s->message.p, s->message.len, words, strlen(words)) != NULL;
}

static inline bool is_7bit(const struct server *s)
{
    for (size_t i = 0; i < s->message.len; i++)
        if ((s->message.p[i] & 0x80) != 0 || s->message.p[i] == '\0')
            return false;
    return true;
}

static inline void expect_quoted(const struct server *s, barid_slice want, bool by_data)
{
    struct buf body, text;

    buf_init(&body, NULL, 0);
    buf_init(&text, NULL, 0);
    assert_true(is_7bit(s));
    assert_true(message_has(s, "\r\nContent-Transfer-Encoding: quoted-printable\r\n"));
    arrived_body(s, &body, by_data);
    quoted_decode(&text, buf_slice(&body));
    assert_true(slice_eq(buf_slice(&text), want));
    buf_deinit(&body);
    buf_deinit(&text);
}

#endif
