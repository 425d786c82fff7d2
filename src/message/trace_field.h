/*
 * message/trace_field.h: the header fields that a mail server writes itself: Received (RFC 5321 4.4, RFC 3848, TLS facts),
 * Return-Path and Delivered-To at final delivery, Date and Message-ID for submission (RFC 6409 8).
 */
#ifndef MESSAGE_TRACE_FIELD_H
#define MESSAGE_TRACE_FIELD_H

#include "message/mail.h"

#define HOP_LIMIT_DEFAULT 100 /* Received fields: RFC 5321 6.3 asks for a large rejection threshold, normally at least 100 */

/* Each appends one complete CRLF-ended field. 0 or BARID_ENOMEM. */
int trace_received(struct buf *out, const struct mail *m, barid_slice hostname);
int trace_return_path(struct buf *out, const struct mail *m);
int trace_delivered_to(struct buf *out, const struct rcpt *r);
int trace_date(struct buf *out, int64_t now_us);
int trace_message_id(struct buf *out, uint64_t id_seed, int64_t now_us, barid_slice hostname);

#endif
