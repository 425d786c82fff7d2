/*
 * server/locals.h: which domains are ours, and where aliases and catch-alls lead. Made once per
 * version; pure look-ups.
 */
#ifndef SERVER_LOCALS_H
#define SERVER_LOCALS_H

#include "base/map.h"
#include "message/mail.h"
#include "policy/config.h"

#define LOCALS_ALIAS_DEPTH   10   /* alias to alias: deeper is a mistake or a loop */
#define LOCALS_ALIAS_TARGETS 1000 /* mailboxes that one RCPT may become */
#define LOCALS_ALIAS_VISITS                                                                    \
    10000 /* targets looked at on the way there: aliases that name the same ones again and again  \
             multiply with every step */

struct locals {
    const struct config *config;
    struct map domains; /* lower-case domain -> anything */
    struct map aliases; /* lower-case "user@domain" or "@domain" -> struct config_alias */
};

int locals_init(struct locals *l, const struct config *config,
                const uint64_t seed[2]); /* 0 or BARID_ENOMEM */
void locals_deinit(struct locals *l);

/* The domain is one of ours, or there is none (<postmaster>, LMTP user names). */
bool locals_has(const struct locals *l, const struct mailbox *box);

/*
 * Where mail for box goes: itself when no alias names it. First user+tag@domain, then
 * user@domain, then @domain (unless the address was reached from there already: a catch-all may
 * lead into its own domain). Array in arena. 0, BARID_ENOMEM, BARID_ELIMIT (depth, number, visits),
 * BARID_ESYNTAX (a target that is no address).
 */
int locals_expand(const struct locals *l, const struct mailbox *box, struct arena *arena,
                  struct mailbox **boxes_r, size_t *n_r);

#endif
