/*
 * policy/verdict_int.h: the insides of a verdict, for verdict.c and verdict_delivery.c.
 */
#ifndef POLICY_VERDICT_INT_H
#define POLICY_VERDICT_INT_H

#include "policy/engine.h"

#define VERDICT_TEXT_MAX   8192 /* octets of a reply text: 16 lines of RFC 5321's 512 */
#define VERDICT_SECRET_MAX 1024
#define ENHANCED_MAX       11 /* "5.123.123", with room: RFC 3463 */

struct verdict {
    struct object object;
    enum barid_verdict_kind kind;
    uint16_t code;
    bool silent;
    char enhanced[ENHANCED_MAX + 1];
    enum barid_secret_kind secret_kind;
    /* Of delivery. */
    uint64_t events;  /* BARID_EVENT_BIT of those that it answers; 0 = any */
    const char *name; /* of the constructor, where events is set: "send" */
    bool limited;
    int64_t at_us;                            /* 0 = as about says */
    size_t text_n, secret_n, user_n, about_n; /* lie one after another behind the struct */
    char where[64];
};

/* What a constructor was given. */
struct given {
    lua_Integer code;
    barid_slice enhanced, text, secret, user;
    enum barid_secret_kind secret_kind;
    bool silent;
    uint64_t events;
    const char *name;
    barid_slice about; /* send: a list of next hops; again: a time as it was written */
    bool limited;
    int64_t at_us;
};

/* ([code,] [enhanced,] [text]) of the running function; name for what it raises. */
void verdict_take_reply(lua_State *L, struct given *g, const char *name, int low, int high);
/* Pushes one; its place is that of the caller of the running function. */
int verdict_make(lua_State *L, enum barid_verdict_kind kind, const struct given *g);
barid_slice verdict_about(const struct verdict *v);

/* verdict_delivery.c: its constructors, into the table at the top; and what such a verdict says beside
 * its kind, into what the running hook's call is about. Raises. */
void verdict_open_delivery(lua_State *L);
void verdict_take_delivery(lua_State *L, const struct verdict *v, struct thread *t);

#endif
