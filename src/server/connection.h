/*
 * server/connection.h: one client: a stream joined to a session, and what the server keeps
 * about both.
 *
 * The session holds at most one unanswered event. While it waits (policy, password hashing,
 * spool) driver.token names it; the answer comes through connection_answer, which may be the
 * end of the connection.
 *
 *   OPEN ──stream closed, session over──▶ CLOSED ──nothing under way──▶ freed
 *
 * A closed connection whose question is still with the committer or the pool lives on until
 * that came back: their callbacks point here.
 */
#ifndef SERVER_CONNECTION_H
#define SERVER_CONNECTION_H

#include "base/list.h"
#include "server/driver.h"
#include "server/server_int.h"

struct ask;
struct transaction;

/* What the client presented, kept until answered. */
struct auth_request {
    enum barid_auth_mechanism mechanism;
    barid_slice authcid, authzid, password; /* the session's, valid until the answer */
};

struct connection {
    struct list node; /* server->connections */
    struct server *server;
    struct version *version;
    const struct version_listen *listen;
    struct driver driver; /* the stream and the session; its token is the unanswered event */
    struct policy_session *policy; /* NULL until a hook is asked */
    struct transaction *tx;        /* NULL outside a transaction */
    struct ask *ask;               /* the question to the policy under way, else NULL */
    struct auth_request auth;      /* while the auth hook is asked */
    struct session_facts facts;
    char *helo, *user, *tls_text, *name; /* heap copies that facts point to */
    uint32_t messages;                   /* accepted in this session */
    enum barid_close_reason reason;
    unsigned under_way; /* jobs and commits whose callback points here */
    bool counted_per_client;
    bool facts_stale; /* what a greeting said may not count */
    bool gone; /* the driver is closed */
};

/* Takes the stream over. Over a limit it says 421 and closes. */
void connection_accept(struct server *s, size_t listen_index, struct stream *stream);

/* Answer the event under way and go on. */
void connection_answer(struct connection *c, const barid_verdict *verdict);
/* Refuse with a row of the reply catalogue; kind from its code. */
void connection_answer_reply(struct connection *c, enum barid_reply_id id);

/* A callback that points to c is back (under_way was counted up when it was started). False: c
 * is closed, and was freed if this was the last: do not touch it. */
bool connection_back(struct connection *c);

/* An observer of the end came back: the connection may be freed. */
void connection_settle(struct connection *c);
void connection_stop(struct connection *c, bool force);

/* Most connections that a client at that address may have; 0 = not counted (loopback, unix,
 * networks.trusted). */
size_t connection_client_limit(const struct connection *c, const barid_endpoint *client);

/* Copies what the session has learnt (HELO name, user, TLS) into facts. BARID_ENOMEM or 0. */
int connection_refresh_facts(struct connection *c);

/* A verdict with the text of a catalogue row. */
barid_verdict connection_verdict(const struct connection *c, enum barid_reply_id id);

#endif
