/* policy/class_mail.h: the methods of mail that lie in files of their own. Internal to
 * src/policy. */
#ifndef POLICY_CLASS_MAIL_H
#define POLICY_CLASS_MAIL_H

#include <lua.h>

#include "message/mail.h"
#include "message/template.h"

/* class_mail_content.c */
int mail_header(lua_State *L);
int mail_headers(lua_State *L);
int mail_add_header(lua_State *L);
int mail_set_header_field(lua_State *L);
int mail_remove_header(lua_State *L);
int mail_body(lua_State *L);
int mail_replace_body(lua_State *L);
/* class_part.c */
int mail_mime(lua_State *L);

/* class_mail_send.c */
struct object;
int mail_send(lua_State *L);
int rcpt_send(lua_State *L);
int mail_get_retry(lua_State *L, struct object *o);
void mail_set_retry(lua_State *L, struct object *o);
/* The arguments from `from` on, or one table, are next hops, maybe none; raises else. One string of all at the top of the stack; true: the
 * table says pinned. */
bool hops_check(lua_State *L, int from, const char *what);

/* For what decides where the mail goes: possible as long as nobody has acted on it. */
struct mail *mail_check_undecided(lua_State *L, int arg, const char *what);

/* The argument is a target that expands; raises else. */
void target_check(lua_State *L, int arg, bool has_rcpt, const char *what);

#endif
