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

/* The argument is a target that expands; raises else. */
void target_check(lua_State *L, int arg, bool has_rcpt, const char *what);

#endif
