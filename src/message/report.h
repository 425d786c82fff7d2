/*
 * message/report.h: delivery status notifications: what became of a mail, told to its sender (RFC 3461, 3464, 6522; RFC 6533
 * where addresses have UTF-8). Pure.
 *
 * A report is a mail with the null sender: a text for people, fields for programs, and the reported mail or its header. The
 * caller decides when there is one (report_is_wanted helps), stores it and sends it.
 */
#ifndef MESSAGE_REPORT_H
#define MESSAGE_REPORT_H

#include "message/mail.h"

enum report_action { REPORT_FAILED = 0, REPORT_DELAYED, REPORT_DELIVERED, REPORT_RELAYED };
const char *report_action_name(enum report_action a); /* "failed", ...: the Action field */

/* What of the reported mail goes with it. DEFAULT: what RET asked for; without RET, and for a failure only, the whole mail up
 * to REPORT_SOURCE_MAX, else its header. */
enum report_attach {
    REPORT_ATTACH_DEFAULT = 0,
    REPORT_ATTACH_NOTHING,
    REPORT_ATTACH_HEADER,
    REPORT_ATTACH_SOURCE
};
#define REPORT_SOURCE_MAX                                                                      \
    51200 /* octets: a report should not be a burden to one whose address was forged */

/* One recipient that the report is about. */
struct report_rcpt {
    const struct rcpt *rcpt;
    barid_slice reply;      /* what was said last: "550 5.1.1 no such user"; empty = nothing */
    barid_slice remote;     /* the host that said it; empty = this server */
    int64_t attempted_us;   /* last attempt; 0 = none */
    int64_t retry_until_us; /* REPORT_DELAYED: when it will be given up; 0 = not known */
};

struct report {
    const struct mail *mail;   /* the reported one; its sender is not null */
    enum report_action action; /* of all its recipients */
    const struct report_rcpt *rcpts;
    size_t n_rcpts; /* at least 1 */
    barid_slice hostname;
    int64_t now_us;
    uint64_t id;     /* of the report's own mail */
    uint64_t random; /* makes the boundary: nothing that the sender wrote can contain it */

    /* What policy may set; empty = the default. */
    barid_slice sender; /* address of From; MAILER-DAEMON@hostname */
    barid_slice subject;
    barid_slice text;      /* for people; LF or CRLF between lines */
    barid_slice rcpt_text; /* once for each recipient, behind text: %{address}, %{reason}, %% */
    barid_slice footer;
    enum report_attach attach;
};

struct report_text {
    struct buf header; /* the header block, CRLF-ended, without the blank line */
    struct buf before; /* the body up to where the reported mail's body goes */
    struct buf after;  /* and behind it */
    bool has_source;   /* the reported mail's body goes between them */
    bool is_8bit;      /* needs 8BITMIME */
};

/* Does the sender want to hear of it (RFC 3461 4.1, 5.2)? Never about a mail whose sender is null. Without NOTIFY: failures and
 * delays. */
bool report_is_wanted(const struct mail *m, const struct rcpt *r, enum report_action action);

/* 0, BARID_ENOMEM; BARID_EINVALID: the sender is null or there is no recipient. t is to be freed whatever comes. */
int report_write(const struct report *r, struct report_text *t);
void report_text_deinit(struct report_text *t);

#endif
