/*
 * policy/class_hop.h: the fields of hop that lie in class_hop_where.c. Internal to src/policy.
 */
#ifndef POLICY_CLASS_HOP_H
#define POLICY_CLASS_HOP_H

#include "policy/engine.h"

static inline struct policy_relay *relay_of(const struct object *o)
{
    return o->p;
}
static inline struct hop *hop_of(const struct object *o)
{
    return relay_of(o)->hop;
}

/* "hop.port", of the field that is read or written: for messages. Pushes it. */
const char *hop_field(lua_State *L);
/* The text that is written. Raises. */
barid_slice hop_value(lua_State *L);

int hop_get_name(lua_State *L, struct object *o);
void hop_set_name(lua_State *L, struct object *o);
void hop_set_host(lua_State *L, struct object *o);
int hop_get_ip(lua_State *L, struct object *o);
void hop_set_ip(lua_State *L, struct object *o);
int hop_get_port(lua_State *L, struct object *o);
void hop_set_port(lua_State *L, struct object *o);
int hop_get_is_host(lua_State *L, struct object *o);
void hop_set_is_host(lua_State *L, struct object *o);
int hop_get_mx(lua_State *L, struct object *o);
void hop_set_mx(lua_State *L, struct object *o);
int hop_get_protocol(lua_State *L, struct object *o);
int hop_get_text(lua_State *L, struct object *o);
int hop_get_source(lua_State *L, struct object *o);
void hop_set_source(lua_State *L, struct object *o);

#endif
