/*
 * delivery/courier.h: one mail to the first of several servers that takes it (RFC 5321 5.1, 4.5.4). One loop, its thread.
 *
 * What moves on to the next address: no connection, a greeting or EHLO that is refused, required TLS or AUTH that fails, 421, a
 * connection lost before the final dot, what this server cannot take (SIZE, 8BITMIME), and a 4xx to MAIL, RCPT or DATA: for the
 * recipients that it leaves open. What never does: a 5xx to MAIL, RCPT or DATA, and whatever comes after the final dot, as the
 * mail may have been taken (RFC 1047).
 */
#ifndef DELIVERY_COURIER_H
#define DELIVERY_COURIER_H

#include "delivery/dialogue.h"
#include "delivery/hosts.h"
#include "interface/transport.h"

#define COURIER_TEXT_SIZE 256 /* as much as a unit's state keeps of a reply, and a bit less */

struct courier;

struct courier_result {
    enum delivery_status status;
    bool
        is_suspect; /* AGAIN: the connection was lost after the final dot, it may have been delivered */
    enum barid_client_stage stage;
    const struct host_address *server; /* which said it, or was not reached */
    char text
        [COURIER_TEXT_SIZE]; /* "550 5.1.1 no such user"; ours for what no server said: "451 4.4.1 ..." */
};

struct courier_ops {
    /* Once for each recipient. */
    void (*on_result)(void *user, size_t rcpt, const struct courier_result *result);
    /* As dialogue_ops.on_body, from offset: each server is sent the mail from its beginning. */
    int (*on_body)(void *user, uint64_t offset, size_t n, barid_slice *p_r, bool *last_r);
    /* After the last result: the courier may be deleted from here. */
    void (*on_over)(void *user);
};

struct courier_options {
    struct loop *loop;
    const barid_client_config
        *config; /* borrowed, as the mail and the addresses, until the courier is deleted */
    struct tls_ctx *tls;
    const barid_endpoint
        *from[2]; /* source addresses, IPv4 and IPv6; NULL = the system's choice */
    uint32_t connect_ms;
    const struct courier_ops *ops;
    void *user;
    const barid_mem *mem;
};

/* It starts with the next turn of the loop. addresses: at least one. 0 or BARID_ENOMEM. */
int courier_new(struct courier **c_r, const struct courier_options *o,
                const barid_client_mail *mail, const struct host_address *addresses,
                size_t n_addresses);
void courier_body_ready(struct courier *c);
/* Gives up what is under way; nothing is called any more. Accepts NULL. */
void courier_del(struct courier **c);

#endif
