/*
 * policy/config.h: the declarations of a configuration file, evaluated and validated: one immutable struct that the daemon
 * wires everything from. Made by config_load (policy/lua_config.c) on one thread; read by all.
 *
 * Paths are absolute after loading (relative ones are relative to the file). Strings are NUL-terminated and live in arena.
 */
#ifndef POLICY_CONFIG_H
#define POLICY_CONFIG_H

#include "barid/session.h"
#include "base/arena.h"
#include "base/err.h"
#include "message/hop.h"

struct config_tls {
    const char *cert, *key; /* NULL = none */
    struct config_sni { const char *name, *cert, *key; } *sni;
    size_t n_sni;
    const char *min_version, *ciphers, *client_ca;
};

struct network { /* CIDR */
    enum barid_family family; /* UNIX: every unix socket peer ("unix") */
    uint8_t addr[16];
    unsigned bits;
};
struct network_list { struct network *v; size_t n; };
bool network_contains(const struct network_list *l, const barid_endpoint *e);
int network_parse(barid_slice text, struct network *n_r, struct err *err);

struct config_limits {
    barid_limits session;
    size_t connections;            /* in total; 20000 */
    size_t connections_per_client; /* per IPv4 address and IPv6 /64; 100 (loopback and trusted: not counted) */
    unsigned hops;                 /* Received fields; 100 */
    uint32_t hook_ms;              /* a waiting hook answers within; 30000 */
    uint64_t hook_instructions;    /* 10,000,000 */
    uint32_t hook_cpu_ms;          /* 10 */
    size_t lua_memory;             /* per worker state; 256 MiB */
    uint32_t drain_ms;             /* graceful stop and reload; 60000 */
};

struct config_listen {
    const char *address; /* as written */
    enum barid_protocol protocol;
    enum { LISTEN_TLS_NONE, LISTEN_TLS_STARTTLS, LISTEN_TLS_IMPLICIT } tls;
    bool tls_required;
    enum { LISTEN_AUTH_OFF, LISTEN_AUTH_ON, LISTEN_AUTH_REQUIRED } auth;
    uint32_t mechanisms; /* bit (1 << enum barid_auth_mechanism); 0 = what the stored secrets allow */
    bool plain_auth_without_tls;
    bool proxy;          /* PROXY header expected from networks.proxy */
    unsigned mode;       /* unix socket mode; 0660 */
    uint32_t extensions; /* BARID_EXT_... */
    struct config_limits limits;
    struct config_tls tls_files; /* own certificate; cert NULL = the global one */
    const char *where;   /* "policy.lua:7" for messages */
};

struct config_alias { const char *address; const char **targets; size_t n; }; /* "user@domain" or "@domain" (catch-all) */

#define RELAYHOST_TLS_UNSAID UINT32_MAX
struct config_relayhost {
    const char **hosts; size_t n_hosts; /* next hops (message/hop.h) for all mail to others; none = to the recipient's domain */
    const char *user, *password;        /* NULL = no AUTH */
    uint32_t tls;                       /* enum hop_tls; UNSAID = that of relay */
    bool implicit_tls;
};
/* How every next hop begins. */
struct config_relay {
    const char *helo;                 /* NULL = hostname */
    barid_endpoint source4, source6;  /* family 0 = the system's choice */
    uint32_t tls;                     /* enum hop_tls */
    const char *ca;                   /* file or directory for HOP_TLS_VERIFIED; NULL = the system's */
    uint32_t connect_ms;              /* 30000 */
    uint32_t max_connections, max_rcpts, max_mails; /* 20, 100, 100 */
    uint32_t max_messages;            /* 1000 */
    uint32_t idle_s;                  /* 10 */
    uint64_t chunk;                   /* 102400 */
    uint32_t downgrade;               /* enum hop_downgrade */
};

struct config {
    struct arena arena;
    const char *file;      /* the configuration */
    barid_slice text;      /* its contents as read once: every policy_lua_new of this version gets these octets */
    struct config_module { const char *name, *file; barid_slice text; } *modules; /* what it required, likewise */
    size_t n_modules;
    const char *hostname;
    const char **domains; size_t n_domains; /* lower case */
    struct config_listen *listen; size_t n_listen;
    struct config_tls tls;
    const char *users_file;       /* auth { users = FILE } ; NULL = none */
    const char *spool_dir;        /* NULL = in memory is not allowed outside tests: required by serve */
    uint64_t spool_segment;       /* 64 MiB */
    const char *maildir_root, *archive_root;
    const char **dns_servers; size_t n_dns_servers; bool dns_trust_ad;
    const char *control_listen;   /* "unix:/run/barid/control" */
    struct config_limits limits;
    const char *log_file;         /* NULL = stderr */
    enum { LOG_FORMAT_TEXT, LOG_FORMAT_JSON } log_format;
    int log_level;                /* enum log_level */
    struct network_list trusted;  /* may relay */
    struct network_list proxies;  /* may send PROXY headers */
    struct network_list xclients; /* may use XCLIENT */
    struct config_alias *aliases; size_t n_aliases;
    char subaddress;              /* '+' ; 0 = off */
    enum { UNDECIDED_REJECT, UNDECIDED_TEMPFAIL, UNDECIDED_HOLD } undecided;
    bool mixed_strict;
    enum barid_bare_newline bare_newline;
    /* 300, 28800, 20: doubling, jittered; then given up. A delay notice after notice failures, 4; 0 = none. */
    struct { uint32_t first_s, max_s; unsigned tries, notice; } retry;
    struct config_relayhost relayhost;
    struct config_relay relay;
    const char *history_dir;      /* what became of finished mail; NULL = not kept */
    uint32_t history_days;        /* 7 */
    unsigned workers;             /* 0 = number of CPUs */
    unsigned pool_threads;        /* 8 */
    const char *user, *group;     /* after binding; NULL = stay */
    enum { SANDBOX_ON, SANDBOX_OFF } sandbox; /* after opening: keep only what is needed */
    barid_replies *replies;       /* overrides; NULL = none */
};

/* All mistakes, not only the first: each one line "FILE:LINE: what". */
struct config_report {
    void (*line)(void *user, const char *text);
    /* Why a file that exists may not be read, where the process knows better than the errno; NULL = it does not. May be NULL. */
    const char *(*why)(void *user, const char *path);
    void *user;
    size_t errors, warnings;
};

/* The defaults alone, with nothing to listen on. NULL = no memory. */
struct config *config_default(void);

/* NULL when report->errors > 0. */
struct config *config_load(const char *file, struct config_report *report);
/* The same of a text that was read already, as if it stood in file, which need not exist.
 * cpu_ms: for evaluating it, 0 = the usual. */
struct config *config_load_text(const char *file, barid_slice text, uint32_t cpu_ms, struct config_report *report);
void config_del(struct config **c);
/* Print every declaration with its default, one a line (barid check --defaults). */
void config_print_defaults(void (*line)(void *user, const char *text), void *user);

#endif
