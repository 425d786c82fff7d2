/*
 * message/report.c: a report put together: header, parts, and where the reported mail goes.
 *
 *   header                                  <- struct report_text.header
 *   --b  text/plain                         <- .before
 *   --b  message/delivery-status
 *   --b  message/rfc822 or text/rfc822-headers, and the reported mail's header
 *        the reported mail's body           <- copied by the caller, where has_source
 *   --b--                                   <- .after
 *
 * Invariant: whatever a sender, a remote server or a policy put into texts and addresses, it
 * stays within its field, its line and its part.
 */
#include "message/report.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/encode.h"
#include "base/slice.h"
#include "message/report_int.h"
#include "message/trace_field.h"

#define BOUNDARY_SIZE 40

const char *report_action_name(enum report_action a)
{
    static const char *const names[] = {"failed", "delayed", "delivered", "relayed"};

    return names[a];
}

bool report_is_wanted(const struct mail *m, const struct rcpt *r, enum report_action action)
{
    static const unsigned bits[] = {
        [REPORT_FAILED] = BARID_NOTIFY_FAILURE,
        [REPORT_DELAYED] = BARID_NOTIFY_DELAY,
        [REPORT_DELIVERED] = BARID_NOTIFY_SUCCESS,
        [REPORT_RELAYED] = BARID_NOTIFY_SUCCESS,
    };
    unsigned notify = r->notify != 0 ? r->notify : BARID_NOTIFY_FAILURE | BARID_NOTIFY_DELAY;

    return !m->sender.null && m->sender.address.n > 0 && (notify & BARID_NOTIFY_NEVER) == 0 &&
           (notify & bits[action]) != 0;
}

/* --- writing --- */

void report_put(struct report_out *o, barid_slice s)
{
    if (o->rc == 0)
        o->rc = buf_append(o->buf, s);
}

void report_put_str(struct report_out *o, const char *s)
{
    report_put(o, slice_str(s));
}

void report_put_line(struct report_out *o, barid_slice s, bool utf8)
{
    bool keeps = utf8 && utf8_valid(s);

    for (size_t i = 0; i < s.n && o->rc == 0; i++) {
        uint8_t c = (uint8_t)s.p[i];
        bool high = c > 126;

        if (c < ' ' || c == 127)
            c = ' ';
        else if (high && !keeps)
            c = '?';
        o->rc = buf_byte(o->buf, (char)c);
    }
}

barid_slice report_address(const struct report_rcpt *r)
{
    return r->rcpt->original.n > 0 ? r->rcpt->original : r->rcpt->box.address;
}

/* --- the header --- */

static void put_from_and_to(struct report_out *o, const struct report *r)
{
    report_put_str(o, "From: Mail Delivery System <");
    if (r->sender.n > 0) {
        report_put_line(o, r->sender, true);
    } else {
        report_put_str(o, "MAILER-DAEMON@");
        report_put_line(o, r->hostname, true);
    }
    report_put_str(o, ">\r\nTo: <");
    report_put_line(o, r->mail->sender.address, true);
    report_put_str(o, ">\r\n");
}

static void put_subject(struct report_out *o, const struct report *r)
{
    static const char *const subjects[] = {"Your mail could not be delivered",
                                           "Your mail is delayed", "Your mail was delivered",
                                           "Your mail was passed on"};

    report_put_str(o, "Subject: ");
    report_put_subject(o, r->subject.n > 0 ? r->subject : slice_str(subjects[r->action]));
    report_put_str(o, "\r\n");
}

/* The thread that it belongs to, for those who show mail. */
static void put_references(struct report_out *o, const struct report *r)
{
    const struct header_list *h = &r->mail->header;
    size_t at = header_find(h, BARID_S("Message-ID"), 0);
    barid_slice id = at == SIZE_MAX ? (barid_slice){0} : slice_trim(h->f[at].value);

    if (id.n < 3 || id.n > 250 || id.p[0] != '<' || id.p[id.n - 1] != '>' || !ascii_only(id) ||
        slice_find(id, '\r') != id.n)
        return;
    report_put_str(o, "In-Reply-To: ");
    report_put_line(o, id, false);
    report_put_str(o, "\r\nReferences: ");
    report_put_line(o, id, false);
    report_put_str(o, "\r\n");
}

static void put_header(struct report_out *o, const struct report *r, const char *boundary)
{
    if (o->rc == 0)
        o->rc = trace_date(o->buf, r->now_us);
    put_from_and_to(o, r);
    put_subject(o, r);
    if (o->rc == 0)
        o->rc = trace_message_id(o->buf, r->id, r->now_us, r->hostname);
    put_references(o, r);
    /* RFC 3834 5: so that no vacation program answers it. */
    report_put_str(o, "Auto-Submitted: auto-replied\r\n"
                      "MIME-Version: 1.0\r\n"
                      "Content-Type: multipart/report; report-type=delivery-status;\r\n"
                      "\tboundary=\"");
    report_put_str(o, boundary);
    report_put_str(o, "\"\r\n");
}

/* --- the parts --- */

static void part(struct report_out *o, const char *boundary, const char *type, bool is_8bit)
{
    report_put_str(o, "\r\n--");
    report_put_str(o, boundary);
    report_put_str(o, "\r\nContent-Type: ");
    report_put_str(o, type);
    report_put_str(o, is_8bit ? "\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" : "\r\n\r\n");
}

/* Plain where it can be, so that it reads well in a file, too. */
static void put_people(struct report_out *o, const struct report *r, const char *boundary)
{
    struct buf text;
    struct report_out people = {.buf = &text};
    size_t longest = 0, n = 0;

    buf_init(&text, o->buf->mem, 0);
    report_put_people(&people, r);
    for (size_t i = 0; i < text.len; i++) {
        n = text.p[i] == '\n' ? 0 : n + 1;
        longest = n > longest ? n : longest;
    }
    if (people.rc != 0) {
        o->rc = o->rc != 0 ? o->rc : people.rc;
    } else if (ascii_only(buf_slice(&text)) && longest < 998) { /* RFC 5322 2.1.1 */
        part(o, boundary, "text/plain; charset=us-ascii", false);
        report_put(o, buf_slice(&text));
    } else {
        part(o, boundary,
             "text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable", false);
        report_put_quoted(o, buf_slice(&text));
    }
    buf_deinit(&text);
}

static bool put_status(struct report_out *o, const struct report *r, const char *boundary)
{
    struct buf fields;
    struct report_out status = {.buf = &fields};
    bool global = r->mail->params.smtputf8, is_8bit;

    buf_init(&fields, o->buf->mem, 0);
    report_put_status(&status, r, global);
    is_8bit = !ascii_only(buf_slice(&fields));
    if (o->rc == 0)
        o->rc = status.rc;
    part(o, boundary, global ? "message/global-delivery-status" : "message/delivery-status",
         is_8bit);
    report_put(o, buf_slice(&fields));
    buf_deinit(&fields);
    return is_8bit;
}

static enum report_attach attach_of(const struct report *r)
{
    const struct mail *m = r->mail;
    enum report_attach a = r->attach;

    if (a == REPORT_ATTACH_DEFAULT && m->params.ret == BARID_RET_FULL)
        a = REPORT_ATTACH_SOURCE;
    else if (a == REPORT_ATTACH_DEFAULT)
        a = m->body_size <= REPORT_SOURCE_MAX ? REPORT_ATTACH_SOURCE : REPORT_ATTACH_HEADER;
    if (a != REPORT_ATTACH_SOURCE)
        return a;
    /* RFC 3461 4.3, 6.2: who asked for headers gets no more, and neither does a report without
     * a failure unless policy said so. A binary body cannot stand in a mail of lines. */
    if (m->params.ret == BARID_RET_HDRS || m->params.body == BARID_BODY_BINARYMIME ||
        (r->attach == REPORT_ATTACH_DEFAULT && r->action != REPORT_FAILED))
        return REPORT_ATTACH_HEADER;
    return a;
}

static bool put_original(struct report_out *o, const struct report *r, enum report_attach a,
                         const char *boundary)
{
    const struct mail *m = r->mail;
    bool source = a == REPORT_ATTACH_SOURCE, global = m->params.smtputf8, is_8bit;
    struct buf header;

    if (a == REPORT_ATTACH_NOTHING)
        return false;
    buf_init(&header, o->buf->mem, 0);
    if (o->rc == 0)
        o->rc = header_write(&m->header, &header);
    is_8bit =
        !ascii_only(buf_slice(&header)) || (source && m->params.body == BARID_BODY_8BITMIME);
    part(o, boundary,
         source ? (global ? "message/global" : "message/rfc822")
                : (global ? "message/global-headers" : "text/rfc822-headers"),
         is_8bit);
    report_put(o, buf_slice(&header));
    if (source)
        report_put_str(o, "\r\n");
    buf_deinit(&header);
    return is_8bit;
}

int report_write(const struct report *r, struct report_text *t)
{
    const barid_mem *mem = r->mail->arena->mem;
    struct report_out header = {.buf = &t->header}, before = {.buf = &t->before},
                      after = {.buf = &t->after};
    enum report_attach attach = attach_of(r);
    char boundary[BOUNDARY_SIZE];

    *t = (struct report_text){.has_source = attach == REPORT_ATTACH_SOURCE};
    buf_init(&t->header, mem, 0);
    buf_init(&t->before, mem, 0);
    buf_init(&t->after, mem, 0);
    if (r->n_rcpts == 0 || r->mail->sender.null || r->mail->sender.address.n == 0)
        return BARID_EINVALID;
    /* "=_" cannot stand in quoted-printable or base64 (RFC 2045 6.7). */
    snprintf(boundary, sizeof(boundary), "=_barid_%016" PRIx64, r->random);
    put_header(&header, r, boundary);
    put_people(&before, r, boundary);
    t->is_8bit = put_status(&before, r, boundary);
    t->is_8bit |= put_original(&before, r, attach, boundary);
    report_put_str(&after, "\r\n--");
    report_put_str(&after, boundary);
    report_put_str(&after, "--\r\n");
    return header.rc != 0 ? header.rc : before.rc != 0 ? before.rc : after.rc;
}

void report_text_deinit(struct report_text *t)
{
    buf_deinit(&t->header);
    buf_deinit(&t->before);
    buf_deinit(&t->after);
}
