/*
 * message/report_status.c: the fields for programs (RFC 3464 2.2, 2.3): of the message, then of
 * each recipient.
 */
#include <stdio.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/slice.h"
#include "message/report_int.h"
#include "smtp/xtext.h"

static void put_date(struct report_out *o, const char *name, int64_t us)
{
    char date[CLOCK_RFC5322_SIZE];

    clock_rfc5322(us, date);
    report_put_str(o, name);
    report_put_str(o, date);
    report_put_str(o, "\r\n");
}

/* RFC 6533 3: utf-8-addr-unitext where global, else utf-8-addr-xtext. is_encoded: the ASCII in it is, already. */
static void put_utf8_address(struct report_out *o, barid_slice s, bool is_encoded, bool global)
{
    for (size_t at = 0, next = 0; at < s.n; at = next) {
        uint32_t point = utf8_next(s, &next);
        char escape[16];

        if ((point >= 128 && global) ||
            (point > ' ' && point < 127 &&
             (is_encoded || (point != '\\' && point != '+' && point != '=')))) {
            report_put(o, slice_of(s.p + at, next - at));
        } else {
            snprintf(escape, sizeof(escape), "\\x{%X}", (unsigned)point);
            report_put_str(o, escape);
        }
    }
}

static void put_address(struct report_out *o, barid_slice address, bool global)
{
    if (!ascii_only(address) && utf8_valid(address)) {
        report_put_str(o, "utf-8; ");
        put_utf8_address(o, address, false, global);
        return;
    }
    report_put_str(o, "rfc822; ");
    report_put_line(o, address, false);
}

/* ORCPT is "type;xtext"; the type utf-8 has an encoding of its own, which stays (RFC 6533 3). */
static void put_original_recipient(struct report_out *o, const struct rcpt *r, bool global)
{
    char text[REPORT_XTEXT_MAX];
    barid_slice value, type = slice_cut(r->orcpt, ';', &value);
    long n;

    if (type.n == 0 || value.n == 0 || value.n > sizeof(text))
        return;
    report_put_str(o, "Original-Recipient: ");
    report_put_line(o, type, false);
    report_put_str(o, "; ");
    if (slice_eq_nocase(type, BARID_S("utf-8")) && utf8_valid(value))
        put_utf8_address(o, value, true, global);
    else if ((n = xtext_decode(value, text)) >= 0)
        report_put_line(o, slice_of(text, (size_t)n), false);
    else
        report_put_line(o, value, false);
    report_put_str(o, "\r\n");
}

/* "5.1.1" of "550 5.1.1 text" (RFC 2034, RFC 3463 2); empty where it has none. */
static barid_slice enhanced_of(barid_slice reply)
{
    barid_slice rest, code = slice_cut(reply, ' ', &rest), status = slice_cut(rest, ' ', &rest);
    size_t dots = 0;

    if (code.n != 3 || status.n < 5 || status.n > 9 || status.p[1] != '.' ||
        status.p[0] != code.p[0])
        return (barid_slice){0};
    for (size_t i = 0; i < status.n; i++) {
        bool dot = status.p[i] == '.';

        if (!dot && (status.p[i] < '0' || status.p[i] > '9'))
            return (barid_slice){0};
        dots += dot;
    }
    return dots == 2 && status.p[status.n - 1] != '.' ? status : (barid_slice){0};
}

static void put_status(struct report_out *o, const struct report *r,
                       const struct report_rcpt *rcpt)
{
    static const char *const classes[] = {[REPORT_FAILED] = "5.0.0",
                                          [REPORT_DELAYED] = "4.0.0",
                                          [REPORT_DELIVERED] = "2.0.0",
                                          [REPORT_RELAYED] = "2.0.0"};
    barid_slice status = enhanced_of(rcpt->reply);
    char class = status.n > 0 ? status.p[0] : '\0';
    /* A failure may have been a deferral too many; else the class is the action's. */
    bool fits = class == classes[r->action][0] || (r->action == REPORT_FAILED && class == '4');

    report_put_str(o, "Status: ");
    report_put(o, fits ? status : slice_str(classes[r->action]));
    report_put_str(o, "\r\n");
}

static void put_rcpt(struct report_out *o, const struct report *r,
                     const struct report_rcpt *rcpt, bool global)
{
    report_put_str(o, "\r\n");
    put_original_recipient(o, rcpt->rcpt, global);
    report_put_str(o, "Final-Recipient: ");
    put_address(o, rcpt->rcpt->box.address, global);
    report_put_str(o, "\r\nAction: ");
    report_put_str(o, report_action_name(r->action));
    report_put_str(o, "\r\n");
    put_status(o, r, rcpt);
    if (rcpt->remote.n > 0) {
        report_put_str(o, "Remote-MTA: dns; ");
        report_put_line(o, rcpt->remote, false);
        report_put_str(o, "\r\n");
    }
    if (rcpt->reply.n > 0) { /* what this server said by itself is no reply of SMTP */
        report_put_str(o, rcpt->remote.n > 0 ? "Diagnostic-Code: smtp; "
                                             : "Diagnostic-Code: x-barid; ");
        report_put_line(o, rcpt->reply, global);
        report_put_str(o, "\r\n");
    }
    if (rcpt->attempted_us != 0)
        put_date(o, "Last-Attempt-Date: ", rcpt->attempted_us);
    if (r->action == REPORT_DELAYED && rcpt->retry_until_us != 0)
        put_date(o, "Will-Retry-Until: ", rcpt->retry_until_us);
}

void report_put_status(struct report_out *o, const struct report *r, bool global)
{
    const struct mail *m = r->mail;
    char text[REPORT_XTEXT_MAX], id[MAIL_ID_TEXT_SIZE];
    long n;

    report_put_str(o, "Reporting-MTA: dns; ");
    report_put_line(o, r->hostname, false);
    report_put_str(o, "\r\n");
    if (m->params.envid.n > 0 && m->params.envid.n <= sizeof(text) &&
        (n = xtext_decode(m->params.envid, text)) >= 0) {
        report_put_str(o, "Original-Envelope-Id: ");
        report_put_line(o, slice_of(text, (size_t)n), false);
        report_put_str(o, "\r\n");
    }
    mail_id_text(m->id, id);
    report_put_str(o, "X-Barid-Id: ");
    report_put_str(o, id);
    report_put_str(o, "\r\n");
    put_date(o, "Arrival-Date: ", m->received_us);
    for (size_t i = 0; i < r->n_rcpts && o->rc == 0; i++)
        put_rcpt(o, r, &r->rcpts[i], global);
}
