/*
 * server/version.h: one version of the configuration as this worker serves it: session
 * configurations made ready per listener. Counted: sessions keep the version that they began
 * with; the last one to leave tells the daemon.
 */
#ifndef SERVER_VERSION_H
#define SERVER_VERSION_H

#include "server/locals.h"
#include "server/server.h"

/* What a peer may do beyond the ordinary: bits that index a listener's session configurations.
 */
enum version_peer { VERSION_PEER_PROXY = 1, VERSION_PEER_XCLIENT = 2, VERSION_PEERS = 4 };

struct version_listen {
    const struct config_listen *config;
    barid_session_config session[VERSION_PEERS]; /* by enum version_peer bits */
    struct tls_ctx *tls;                         /* NULL = none */
};

struct version {
    int refs; /* one loop, so no atomics */
    const struct config *config;
    struct policy *policy;
    struct users *users;
    const struct routing *routing; /* may be NULL */
    struct locals locals;
    struct version_listen *listen; /* as many as config->n_listen */
    void (*released)(void *user);
    void *user;
};

/* 0 or BARID_ENOMEM. */
int version_new(struct version **v_r, const struct server_version *from,
                const struct server_options *o);
struct version *version_ref(struct version *v);
void version_unref(struct version **v);
/* The configuration for a client at that address. */
const barid_session_config *version_session(const struct version *v,
                                            const struct version_listen *l,
                                            const barid_endpoint *peer);
/* Index of the listener with that address, or SIZE_MAX. */
size_t version_find_listen(const struct version *v, const char *address);

#endif
