/*
 * delivery/courier.h: one mail to the first of several servers that takes it (RFC 5321 5.1, 4.5.4). One loop, its thread.
 *
 * What moves on to the next address: no connection, a greeting or EHLO that is refused, required TLS or AUTH that fails, 421, a
 * connection lost before the final dot, what this server cannot take (SIZE, 8BITMIME), and a 4xx to MAIL, RCPT or DATA: for the
 * recipients that it leaves open. What never does: a 5xx to MAIL, RCPT or DATA, and whatever comes after the final dot, as the
 * mail may have been taken (RFC 1047). A message that cannot be read is not tried elsewhere.
 *
 * Which address is next: the first in order that was not just unreachable, those last; among its equals in preference one to which a
 * connection is kept. A kept connection that is lost, or says 421, to the first command is replaced by a fresh one to the same address:
 * nothing was answered. So is one whose handshake fails where TLS is opportunistic, by one without.
 */
#ifndef DELIVERY_COURIER_H
#define DELIVERY_COURIER_H

#include "delivery/connections.h"
#include "delivery/hosts.h"
#include "delivery/unreachable.h"
#include "interface/transport.h"

#define COURIER_TEXT_SIZE 256 /* as much as a unit's state keeps of a reply, and a bit less */

struct courier;

struct courier_result {
    enum delivery_status status;
    bool
        is_suspect; /* AGAIN: the connection was lost after the final dot, it may have been delivered */
    enum barid_client_stage stage;
    bool no_connection; /* AGAIN, FAILED: no server came as far as being asked */
    bool dsn_passed;    /* DONE: the server offers DSN */
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
    /* A server is ready, before MAIL: *mail may be changed by what it offers (not the recipients), and with it what on_body gives from
     * now on. 1; 0: not now, courier_server_ready says when and it is asked again; BARID_EUNSUPPORTED: this server is not asked, but the
     * next; another barid_err: no server is. refusal says why: "554 5.6.3 ...". May be NULL. */
    int (*on_server)(void *user, const barid_client *client, barid_client_mail *mail, char refusal[COURIER_TEXT_SIZE]);
    /* As dialogue_ops.on_final. May be NULL. */
    void (*on_final)(void *user);
};

struct courier_options {
    struct loop *loop;
    struct connections *connections; /* borrowed, as is what follows, until the courier is deleted; the mail and the addresses, too */
    struct unreachable *unreachable; /* NULL: nothing is remembered */
    const barid_client_config *config;
    struct tls_ctx *tls;
    const char *unix_path; /* NULL, or where the one address is */
    uint32_t max_mails;    /* in one connection; 0 = no limit */
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
void courier_server_ready(struct courier *c);
/* Gives up what is under way; nothing is called any more. From on_over, but not from within the other calls. Accepts NULL. */
void courier_del(struct courier **c);

#endif
