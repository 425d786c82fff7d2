/*
 * message/template.h: expansion of delivery targets: %{user} %{tag} %{local} %{domain} %{address} %{sender} %{id}
 * %{yyyy} %{mm} %{dd}, "%%" is a percent sign. Each value is made safe as one path component: "/" and NUL and control octets
 * become "_", "." and ".." become "_"; a leading "." becomes "_". The result is a relative path.
 */
#ifndef MESSAGE_TEMPLATE_H
#define MESSAGE_TEMPLATE_H

#include "base/err.h"
#include "message/mail.h"

#define TEMPLATE_RESULT_MAX 1024 /* PATH_MAX is 4096; leaves room for root and file name */

/* Syntax only, for checking a configuration. has_rcpt: names of the recipient (user, tag, local, domain, address) are
 * allowed. 0 or BARID_ESYNTAX with *err (may be NULL). */
int template_check(barid_slice text, bool has_rcpt, struct err *err);
/* rcpt may be NULL (archive). 0, BARID_ESYNTAX, BARID_ELIMIT, BARID_ENOMEM. */
int template_expand(barid_slice text, const struct mail *m, const struct rcpt *rcpt, struct arena *arena,
                    barid_slice *result_r, struct err *err);

#endif
