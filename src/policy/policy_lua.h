/*
 * policy/policy_lua.h: a policy whose handlers are the hooks of a configuration file, in a Lua state of its own for one loop.
 */
#ifndef POLICY_POLICY_LUA_H
#define POLICY_POLICY_LUA_H

#include "interface/policy.h"
#include "policy/config.h"

struct loop;
struct dns;
struct pool;
struct shared;

struct policy_services {
    struct loop *loop;
    struct dns *dns;       /* NULL = dns functions answer an error */
    struct pool *pool;
    struct shared *shared; /* the cross-worker table */
    const struct log *log;
    const struct config *config; /* borrowed for the life of the policy */
    const barid_mem *mem;        /* NULL = malloc */
};

/* text: the file's contents as config_load read it (the same for every worker: a file changed between two reads must not
 * give two policies). 0 or a barid_err with file and line in *err. */
int policy_lua_new(struct policy **p_r, const struct policy_services *services, barid_slice text, uint64_t version, struct err *err);

#endif
