/*
 * delivery/root.h: directories beneath one root, and nowhere else.
 *
 * Every path is resolved by the kernel with openat2(2), RESOLVE_BENEATH: "..", an absolute path
 * or a symbolic link that leaves the root is refused even when somebody changes the tree at the
 * same moment. Symbolic links that stay beneath the root are followed. Where openat2 is missing
 * (an old kernel, a container that forbids it), no link is followed at all.
 */
#ifndef DELIVERY_ROOT_H
#define DELIVERY_ROOT_H

#include "base/err.h"
#include "base/log.h"

struct root {
    int fd;
    bool no_openat2; /* found at open; a test may set it */
};

/* The root itself is made when it is missing (its parent must exist), mode 0700. 0 or BARID_EIO
 * with *err. */
int root_open(struct root *r, const char *path, const struct log *log, struct err *err);
void root_close(struct root *r);

/*
 * The directory at a relative path, made as needed (mode 0700), each new entry synced in its
 * parent. 0 and *fd_r, or an errno value: EXDEV or ELOOP when it leads out of the root, ENOTDIR
 * when something else is in the way.
 */
int root_dir(const struct root *r, barid_slice path, int *fd_r);

#endif
