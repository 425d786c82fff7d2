/*
 * daemon/generation.h: one version of the configuration with what was made from it: TLS contexts, users, next hops. Immutable once loaded,
 * shared by the workers, freed when the last worker has let go of it.
 */
#ifndef DAEMON_GENERATION_H
#define DAEMON_GENERATION_H

#include "io/tls.h"
#include "message/hop.h"
#include "policy/config.h"
#include "server/users.h"

struct generation {
    _Atomic int refs;
    uint64_t number;      /* 1, 2, ... within this process */
    struct config *config;
    struct tls_ctx **tls; /* one per config->listen; NULL = none there */
    struct users *users;  /* NULL = no users file */
    struct routing routing;
    struct arena arena;   /* of routing */
};

/* Every line that a person should read, errors and warnings alike, goes to line. */
struct generation_report {
    void (*line)(void *user, bool is_error, const char *text);
    /* Asked between the declarations and the files that they name; < 0 with *err = go no further. NULL = all is well. */
    int (*check)(void *user, const struct config *c, struct err *err);
    const char *(*why)(void *user, const char *path); /* as in struct config_report; may be NULL */
    void *user;
};

/* 0 with one reference, or an exit code of sysexits(3) after every mistake was reported. Nothing is written. */
int generation_load(struct generation **v_r, const char *file, uint64_t number, const struct generation_report *report);
struct generation *generation_ref(struct generation *v);
void generation_unref(struct generation **v); /* any thread; accepts NULL */

#endif
