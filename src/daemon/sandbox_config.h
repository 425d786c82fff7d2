/*
 * daemon/sandbox_config.h: which files a configuration needs while it is served and when it is loaded again. Knows paths, not
 * the kernel.
 */
#ifndef DAEMON_SANDBOX_CONFIG_H
#define DAEMON_SANDBOX_CONFIG_H

#include "daemon/sandbox.h"
#include "policy/config.h"

/* Directories that c declares and that do not exist are made as their owners would, durably: a rule binds to a directory,
 * not to a name. Then everything that c and the libraries need is allowed. 0 or a barid_err. */
int sandbox_allow_config(struct sandbox *s, const struct config *c, struct err *err);
/* All of a start: nothing is made when the spool's directory is none. *s_r is set in any case. 0 or a barid_err. */
int sandbox_start(struct sandbox **s_r, const struct config *c, struct err *err);
/* A reload: 0, or BARID_EINVALID with the first path of c that the process can never reach. What is read at start only (spool, history, history,
 * maildir, archive, control) is not looked at. */
/* For a file of it that cannot be read: the sandbox as the reason, or NULL. */
const char *sandbox_why(const struct sandbox *s, const char *path);
int sandbox_check_config(const struct sandbox *s, const struct config *c, struct err *err);

#endif
