/*
 * message/vars.h: small typed variables of a policy: mail.vars and session.vars. Insertion order is kept.
 */
#ifndef MESSAGE_VARS_H
#define MESSAGE_VARS_H

#include "base/arena.h"

#define VARS_MAX_BYTES 65536 /* keys and values of one set: what a script may grow per mail */
#define VARS_MAX_COUNT 256

struct var {
    barid_slice key;
    enum { VAR_BOOL, VAR_INT, VAR_NUM, VAR_STR } type;
    bool flag;
    int64_t num;
    double real;
    barid_slice str;
};
struct vars {
    struct arena *arena; /* borrowed: lifetime of the mail or session */
    struct var *v;
    size_t n, cap, bytes;
};
void vars_init(struct vars *vars, struct arena *arena);
const struct var *vars_get(const struct vars *vars, barid_slice key); /* NULL when absent */
/* Copies key and str. 0, BARID_ELIMIT, BARID_ENOMEM. */
int vars_set(struct vars *vars, const struct var *value);
void vars_unset(struct vars *vars, barid_slice key);

#endif
