/*
 * server/users.h: the users file: one "name:secret" a line, secret a SCRAM verifier
 * ("SCRAM-SHA-256$...") or, for CRAM-MD5,
 * "{PLAIN}password". '#' begins a comment line. Written by `barid passwd`.
 */
#ifndef SERVER_USERS_H
#define SERVER_USERS_H

#include "barid/event.h"
#include "base/err.h"

struct users;
struct user_entry {
    barid_slice name, secret;
    bool plaintext; /* secret is the password itself */
};
/* 0, or BARID_EIO / ESYNTAX with file and line. Mode more open than 0640 is a warning in
 * *warning_r (static text or NULL). */
int users_load(struct users **u_r, const char *file, struct err *err, const char **warning_r);
/* The same of a text that was read already; file is for messages. NULL in *u_r on error. */
int users_parse(struct users **u_r, barid_slice text, const char *file, struct err *err);
struct users *users_ref(struct users *u);
void users_unref(struct users **u);
const struct user_entry *users_find(const struct users *u,
                                    barid_slice name); /* NULL = unknown */
bool users_has_plaintext(const struct users *u);
/* Whether there are users, and every one can log in by the mechanism, which passes no password:
 * with a password in the file, or a verifier of just that mechanism. */
bool users_all_can(const struct users *u, enum barid_auth_mechanism mechanism);
/* In the order of the file. */
void users_each(const struct users *u, void (*fn)(void *user, const struct user_entry *entry), void *user);

/* For `barid passwd`: add or replace a line, keeping the others; written beside, fsynced,
 * renamed; mode 0600 when new, else mode, owner and group of the old file. */
int users_set(const char *file, barid_slice name, barid_slice secret, struct err *err);
int users_remove(const char *file, barid_slice name, struct err *err); /* BARID_ENOTFOUND */

#endif
