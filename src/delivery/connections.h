/*
 * delivery/connections.h: open client sessions, kept for the next mail. One loop, its thread.
 *
 * A connection is taken or opened by one owner at a time, who sends one mail and gives it back. What comes back is kept for a short
 * time and given to the next who asks for exactly the same: nothing that one next hop is to be reached with is ever used for another.
 */
#ifndef DELIVERY_CONNECTIONS_H
#define DELIVERY_CONNECTIONS_H

#include "base/rng.h"
#include "delivery/dialogue.h"

/* Kept ones of all next hops: each is a descriptor here and a process elsewhere. As many as there are messages under way by default: thousands
 * of domains behind one server then share their connections. The oldest is closed first. */
#define CONNECTIONS_IDLE_MAX 1024
/* That wait for a reply to RSET or QUIT, which nobody needs: more are closed without. */
#define CONNECTIONS_LEAVING_MAX 1024

struct connections;
struct connection;

struct connections_options {
    struct loop *loop;
    uint32_t idle_ms;      /* 0: nothing is kept */
    const struct rng *rng; /* of the table of places, which come from DNS */
    const barid_mem *mem;
};
int connections_new(struct connections **cs_r,
                    const struct connections_options *o); /* 0 or BARID_ENOMEM */
/* Kept ones are closed, with a QUIT that is not waited for. None may be out. Accepts NULL. */
void connections_del(struct connections **cs);
size_t connections_idle(const struct connections *cs);

/* All of it has to be the same; copied by connections_open. */
struct connection_request {
    const barid_client_config *config; /* random_user outlives the connections */
    struct tls_ctx *tls;
    const char *server_name;     /* NULL = none */
    struct dialogue_place place; /* connect_ms need not be the same */
    uint32_t max_mails;          /* in one connection; 0 = no limit. Need not be the same */
};

/* A kept one, which is READY (no event says so again), or NULL. */
struct connection *connections_take(struct connections *cs, const struct connection_request *r,
                                    const struct dialogue_ops *ops, void *user);
/* A new one: as dialogue_open. */
int connections_open(struct connections *cs, const struct connection_request *r,
                     const struct dialogue_ops *ops, void *user, struct connection **k_r,
                     struct err *err);

struct dialogue *connection_dialogue(struct connection *k);
bool connection_is_used(const struct connection *k); /* it has served a mail */
int connection_send(struct connection *k, const barid_client_mail *mail); /* as dialogue_send */

/* The owner is called no more. From within on_event, too. */
void connection_give(
    struct connection **k); /* after DONE: it is kept, when the server is READY again */
void connection_leave(struct connection **k); /* QUIT; in a mail: closed as it is */
/* Closes at once; not from within on_event, but from on_over. Accepts NULL. */
void connection_del(struct connection **k);

#endif
