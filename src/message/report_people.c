/*
 * message/report_people.c: what a report says to people: what happened, to whom, why, and what
 * to do, in words for those who do not know mail servers.
 */
#include "base/slice.h"
#include "message/report_int.h"

static const char *const texts[] = {
    [REPORT_FAILED] = "Your mail could not be delivered to the recipients below. "
                      "It will not be tried again.\n",
    [REPORT_DELAYED] =
        "Your mail could not be delivered to the recipients below yet. It is kept and tried\n"
        "again. You need not do anything, and need not send it again.\n",
    [REPORT_DELIVERED] = "Your mail was delivered to the recipients below.\n",
    [REPORT_RELAYED] =
        "Your mail was passed on for the recipients below, to a mail server that does not\n"
        "tell whether it delivers it. You will hear no more of it unless it fails.\n",
};

#define RCPT_TEXT "\n  <%{address}>\n    %{reason}\n"

static const char *const no_reason[] = {
    [REPORT_FAILED] = "No reason was given.",
    [REPORT_DELAYED] = "The mail server of the recipient was not reached.",
    [REPORT_DELIVERED] = "It was delivered.",
    [REPORT_RELAYED] = "It was accepted.",
};

/* LF or CRLF between lines, and an end to the last one. */
static void put_lines(struct report_out *o, barid_slice text)
{
    while (text.n > 0 && o->rc == 0) {
        size_t n = slice_find(text, '\n');
        barid_slice line = slice_head(text, n);

        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        report_put_line(o, line, true);
        report_put_str(o, "\r\n");
        text = slice_from(text, n < text.n ? n + 1 : n);
    }
}

static void put_reason(struct report_out *o, const struct report *r,
                       const struct report_rcpt *rcpt)
{
    if (rcpt->reply.n == 0) {
        report_put_str(o, no_reason[r->action]);
        return;
    }
    if (rcpt->remote.n > 0) {
        report_put_str(o, "The mail server ");
        report_put_line(o, rcpt->remote, true);
        report_put_str(o, " said: ");
    }
    report_put_line(o, rcpt->reply, true);
}

/* The text for one recipient. What is put in is on one line, so that a text's lines are the text's own. */
static void put_rcpt(struct report_out *o, const struct report *r,
                     const struct report_rcpt *rcpt, barid_slice text)
{
    static const barid_slice address = {"%{address}", 10}, reason = {"%{reason}", 9},
                             percent = {"%%", 2};

    while (text.n > 0 && o->rc == 0) {
        size_t n = slice_find(text, '%');

        report_put(o, slice_head(text, n));
        text = slice_from(text, n);
        if (text.n == 0)
            return;
        if (slice_starts_nocase(text, address)) {
            report_put_line(o, report_address(rcpt), true);
            text = slice_from(text, address.n);
        } else if (slice_starts_nocase(text, reason)) {
            put_reason(o, r, rcpt);
            text = slice_from(text, reason.n);
        } else {
            report_put_str(o, "%");
            text = slice_from(text, slice_starts_nocase(text, percent) ? 2 : 1);
        }
    }
}

void report_put_people(struct report_out *o, const struct report *r)
{
    struct buf one;

    buf_init(&one, o->buf->mem, 0);
    report_put_str(o, "This is the mail server ");
    report_put_line(o, r->hostname, true);
    report_put_str(o, ".\r\n\r\n");
    put_lines(o, r->text.n > 0 ? r->text : slice_str(texts[r->action]));
    for (size_t i = 0; i < r->n_rcpts && o->rc == 0; i++) {
        struct report_out rcpt = {.buf = &one};

        buf_clear(&one);
        put_rcpt(&rcpt, r, &r->rcpts[i],
                 r->rcpt_text.n > 0 ? r->rcpt_text : BARID_S(RCPT_TEXT));
        o->rc = rcpt.rc;
        put_lines(o, buf_slice(&one));
    }
    if (r->footer.n > 0)
        report_put_str(o, "\r\n");
    put_lines(o, r->footer);
    buf_deinit(&one);
}
