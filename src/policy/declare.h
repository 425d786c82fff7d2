/*
 * policy/declare.h: the declarations of a configuration file: a table of what exists, and one
 * reader for all of it. Internal to src/policy.
 *
 * A mistake is reported and evaluation goes on, so that one run shows all of them. A
 * declaration may be called, `hostname "mx"` or `limits { line = 1000 }`, or assigned:
 * `undecided = "hold"`.
 */
#ifndef POLICY_DECLARE_H
#define POLICY_DECLARE_H

#include <lua.h>

#include "policy/config.h"
#include "policy/script.h"

enum key_type {
    KEY_BOOL,
    KEY_NUMBER,  /* integer from min to max; 64M, 10K in a string */
    KEY_MS,      /* milliseconds, or "30s", "5m", "8h", "1d" */
    KEY_SECONDS, /* seconds, or likewise */
    KEY_STRING,
    KEY_CHOICE,  /* one of choices; its index is stored */
    KEY_FILE,    /* path of a file that can be read */
    KEY_PATH,    /* path, need not exist */
    KEY_STRINGS, /* list of strings: const char **v; size_t n side by side */
    KEY_CUSTOM   /* read has the value at the top of the stack */
};

struct declare;
struct key {
    const char *name;
    enum key_type type;
    size_t offset; /* of the field in the struct */
    size_t size;   /* of the field */
    int64_t min, max;
    const char *const *choices;
    const char *shown; /* default as printed; NULL = made from the value */
    const char *doc;
    void (*read)(struct declare *d, const struct key *key, void *base);
};

struct declaration {
    const char *name;
    const char *usage;      /* one line for the reference */
    const struct key *keys; /* of its table; NULL = a single value, described by value */
    struct key value;
    size_t offset; /* of the struct that keys are relative to */
    bool many;     /* may be declared more than once */
    void (*read)(
        struct declare *d); /* instead of keys and value: argument at the top of the stack */
};
extern const struct declaration declarations[]; /* ended by a NULL name */
const char *const *declaration_names(void);     /* ended by NULL; static */

struct mistake {
    struct mistake *next;
    const char *text;
    int line;
    size_t order;
    bool warning;
};
struct unknown_name {
    struct unknown_name *next;
    const char *name;
    int line;
    struct mistake *mistake;
};

struct declare {
    struct config *config;
    const struct config_report *report;
    lua_State *L;
    struct arena scratch; /* mistakes */
    const char *dir;      /* of the file; relative paths begin here */
    const char *path;     /* what is being read: "listen.limits" */
    const char *chunk;    /* file name in messages */
    struct mistake *mistakes;
    struct unknown_name *unknown;
    size_t n_mistakes;
    int line;   /* of the declaration being read; 0 = ask the stack */
    int *lines; /* by declaration: where it was made; 0 = not yet */
    struct pending_listen {
        int limits_ref; /* registry reference to its limits table */
        bool tls_unsaid;
    } * pending;     /* by listen entry: what is settled at the end */
    uint64_t hooked; /* events that have a hook */
    bool nomem;
};

/* "FILE:LINE: text" is remembered; line 0 = of the running declaration. */
void declare_mistake(struct declare *d, const char *fmt, ...) BARID_PRINTF(2, 3);
void declare_warning(struct declare *d, const char *fmt, ...) BARID_PRINTF(2, 3);
/* As declare_mistake: a message that carries its own "FILE:LINE: ". */
void declare_raw(struct declare *d, int line, const char *text);

/* Value at the top of the stack into the field of base; reports what is wrong. Leaves the stack
 * as it was. */
void declare_value(struct declare *d, const struct key *key, void *base);
/* Table at the top into base by keys; unknown keys are reported; positional entries too, unless
 * allowed. */
void declare_keys(struct declare *d, const struct key *keys, void *base, bool positional);
/* The value at the top as a string in the config's arena; NULL = reported. what: for the
 * report. */
const char *declare_string(struct declare *d, const char *what);
/* A path made absolute. */
const char *declare_path(struct declare *d, const char *path);
bool declare_readable(struct declare *d, const char *what, const char *path);
/* List of strings (or one string) at the top. NULL and *n_r 0 when empty or wrong. */
const char **declare_strings(struct declare *d, const char *what, size_t *n_r);
void *declare_alloc(struct declare *d, size_t size);
/* Line where a declaration was made, 0 = it was not. */
int declare_line(const struct declare *d, const char *name);

/* script.c: a call of a declaration function, an assignment to its name (true = it was one), an
 * unknown name. */
void declare_open(lua_State *L);
bool declare_assign(lua_State *L);
bool declare_unknown(lua_State *L, const char *name);

/* declare_listen.c, declare_misc.c, declare_relay.c: what is no plain value. */
extern const struct key declare_limit_keys[], declare_tls_keys[], declare_relayhost_keys[],
    declare_relay_keys[];
void declare_relayhost(struct declare *d);
void declare_listen(struct declare *d);
void declare_listen_finish(struct declare *d);
void declare_domains(struct declare *d);
void declare_networks_key(struct declare *d, const struct key *key, void *base);
void declare_sni_key(struct declare *d, const struct key *key, void *base);
void declare_aliases(struct declare *d);
void declare_replies(struct declare *d);
void declare_subaddress(struct declare *d);
void declare_user(struct declare *d);

#endif
