/*
 * cli/send.h: one client session over a real connection: joins barid/client.h to a stream. Used by `barid send`.
 */
#ifndef CLI_SEND_H
#define CLI_SEND_H

#include "barid/client.h"
#include "base/err.h"

#define SEND_CONNECT_MS 30000

struct send_options {
    const char *server;             /* "host:port", "[::1]:port", "unix:/path" */
    const barid_client_config *client;
    const barid_client_mail *mail;
    barid_slice message;            /* whole, header and body */
    unsigned repeat;                /* mails in this session, at least 1 */
    bool verify;                    /* the certificate of the server */
    const char *ca_file;            /* NULL = the system's */
    bool verbose;                   /* the dialogue goes to stderr */
    /* One per recipient and mail; then one per mail. */
    void (*result)(void *user, const barid_client_event *ev);
    void *user;
};

/* 0 when the session came to its end, with a result for every recipient of every mail that was begun; else a barid_err: the
 * connection could not be made, or the session ended before the first mail (stage_r, code_r say where and by which reply). */
int send_run(const struct send_options *o, enum barid_client_stage *stage_r, unsigned *code_r, struct err *err);

#endif
