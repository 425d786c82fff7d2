/*
 * daemon/privileges.h: giving up root after the sockets are bound, for good.
 */
#ifndef DAEMON_PRIVILEGES_H
#define DAEMON_PRIVILEGES_H

#include "base/err.h"

struct identity {
    char *user; /* NULL = stay who we are */
    unsigned uid, gid;
};

/* Names to numbers. user NULL with a group is refused, as is anything when we are not root and another user. 0;
 * BARID_ENOTFOUND (no such user or group); BARID_EINVALID (it could not be done later). */
int identity_find(struct identity *id_r, const char *user, const char *group, struct err *err);
void identity_deinit(struct identity *id);
/* Become it: supplementary groups, group, user, no way back, no new privileges. 0 or BARID_EIO: do not go on then. */
int privileges_drop(const struct identity *id, struct err *err);

#endif
