/*
 * policy/module.h: text files of the configuration's folder: the file itself and what it
 * requires. Internal to src/policy.
 */
#ifndef POLICY_MODULE_H
#define POLICY_MODULE_H

#include <lua.h>

#include "base/buf.h"
#include "base/err.h"

#define MODULE_TEXT_MAX (16u << 20) /* octets of one file */
#define MODULES_MAX     200

/* The whole of a regular file, appended. 0, or a barid_err with *err. */
int module_read(const char *file, struct buf *out, struct err *err);
/* Puts require into the table at the top of the stack. */
void module_open(lua_State *L);

#endif
