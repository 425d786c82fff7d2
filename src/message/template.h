/*
 * message/template.h: expansion of delivery targets: %{user} %{tag} %{local} %{domain}
 * %{address} %{sender} %{id}
 * %{yyyy} %{mm} %{dd}, "%%" is a percent sign.
 *
 * The result is a relative path without ".", ".." or empty components. Each value is made safe
 * as (a part of) one component: "/", NUL, control octets and bytes that are not UTF-8 become
 * "_", and so does a leading ".". So "a/b" and "a_b" share a place: a policy that has such
 * users decides at rcpt which of them exists. Components that are empty or
 * "." after expansion are left out: "%{domain}/%{user}/.%{tag}" is the inbox itself without a
 * tag.
 *
 * %{address} and %{sender} are local@domain, the domain in lower case. Dates are of the time of
 * receipt, UTC. %{id} needs mail.id: set it before mail_evaluate.
 */
#ifndef MESSAGE_TEMPLATE_H
#define MESSAGE_TEMPLATE_H

#include "base/err.h"
#include "message/mail.h"

#define TEMPLATE_RESULT_MAX 1024 /* PATH_MAX is 4096; leaves room for root and file name */
#define TEMPLATE_COMPONENT_MAX                                                                 \
    200 /* NAME_MAX is 255 octets; leaves room for what a file name adds */

/* Syntax only, for checking a configuration. has_rcpt: names of the recipient (user, tag,
 * local, domain, address) are allowed. 0 or BARID_ESYNTAX with *err (may be NULL). */
int template_check(barid_slice text, bool has_rcpt, struct err *err);
/* rcpt may be NULL (archive). 0, BARID_ESYNTAX, BARID_ELIMIT (result or component too long),
 * BARID_ENOMEM. */
int template_expand(barid_slice text, const struct mail *m, const struct rcpt *rcpt,
                    struct arena *arena, barid_slice *result_r, struct err *err);
/* As template_expand, into out, which is cleared first: for comparing without leaving copies in
 * an arena. */
int template_expand_buf(barid_slice text, const struct mail *m, const struct rcpt *rcpt,
                        struct buf *out, struct err *err);

#endif
