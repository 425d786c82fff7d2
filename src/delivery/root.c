/*
 * delivery/root.c: directories beneath one root. Knows no mail.
 *
 * A path is first opened whole: the case of every delivery but the first. Only when it is not
 * there it is made, prefix by prefix: open the prefix from the root (so that a link in the
 * middle is judged against the root), make one component in it with mkdirat(2), which follows
 * nothing, sync, go on. No step trusts what an earlier one saw.
 */
#include "delivery/root.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/slice.h"

#define ROOT_PATH_MAX                                                                          \
    2048              /* twice TEMPLATE_RESULT_MAX: room for what a transport puts behind it */
#define ROOT_TRIES 16 /* openat2 gives EAGAIN when the tree is renamed under it */

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC)

static int open_by_kernel(int root, const char *path)
{
    const struct open_how how = {.flags = DIR_FLAGS,
                                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    long fd = -1;

    for (int i = 0; i < ROOT_TRIES; i++) {
        fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
            break;
    }
    return (int)fd;
}

/* Component by component, following no link. */
static int open_by_walk(int root, const char *path)
{
    barid_slice rest = slice_str(path), part;
    int fd = openat(root, ".", DIR_FLAGS);

    while (fd >= 0 && rest.n > 0) {
        char name[NAME_MAX + 1];
        int next, saved;

        part = slice_cut(rest, '/', &rest);
        errno = slice_eq(part, BARID_S("..")) ? EXDEV : part.n > NAME_MAX ? ENAMETOOLONG : 0;
        if (errno == 0)
            memcpy(name, part.p, part.n);
        name[errno == 0 ? part.n : 0] = '\0';
        next = errno == 0 ? openat(fd, name, DIR_FLAGS | O_NOFOLLOW) : -1;
        saved = errno;
        close(fd);
        fd = next;
        errno = saved;
    }
    return fd;
}

/* An open directory, or the negative errno value. */
static int open_dir(const struct root *r, const char *path)
{
    int fd = r->no_openat2 ? open_by_walk(r->fd, path) : open_by_kernel(r->fd, path);

    return fd >= 0 ? fd : -errno;
}

/* Makes name in the directory at prefix and puts it on stable storage. 0 or an errno value. */
static int make_one(const struct root *r, const char *prefix, const char *name)
{
    int parent = open_dir(r, prefix), rc = 0;

    if (parent < 0)
        return -parent;
    if (mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
        rc = errno;
    else if (fsync(parent) <
             0) /* also when it exists: whoever made it may not have come to this */
        rc = errno;
    close(parent);
    return rc;
}

/* path is writable: cut at each slash in turn. 0 or an errno value. */
static int make_all(const struct root *r, char *path)
{
    char *name = path;
    int rc = 0;

    while (rc == 0 && name != NULL) {
        char *slash = strchr(name, '/'), *before = name > path ? name - 1 : NULL;
        int fd;

        if (slash != NULL)
            *slash = '\0';
        fd = open_dir(r, path);
        if (fd == -ENOENT) {
            if (before != NULL)
                *before = '\0';
            rc = make_one(r, before != NULL ? path : ".", name);
            if (before != NULL)
                *before = '/';
        } else if (fd < 0) {
            rc = -fd;
        } else {
            close(fd);
        }
        if (slash != NULL)
            *slash = '/';
        name = slash != NULL ? slash + 1 : NULL;
    }
    return rc;
}

int root_dir(const struct root *r, barid_slice path, int *fd_r)
{
    char text[ROOT_PATH_MAX];
    int fd, rc;

    if (path.n == 0 || path.p[0] == '/' || memchr(path.p, '\0', path.n) != NULL)
        return EXDEV;
    if (path.n >= sizeof(text))
        return ENAMETOOLONG;
    memcpy(text, path.p, path.n);
    text[path.n] = '\0';
    fd = open_dir(r, text);
    if (fd == -ENOENT) {
        rc = make_all(r, text);
        if (rc != 0)
            return rc;
        fd = open_dir(r, text);
    }
    if (fd < 0)
        return -fd;
    *fd_r = fd;
    return 0;
}

/* The root was made just now: its entry in the parent must be as durable as what goes into it.
 */
static int sync_parent(int fd)
{
    int parent = openat(fd, "..", DIR_FLAGS), rc;

    if (parent < 0)
        return -1;
    rc = fsync(parent);
    close(parent);
    return rc;
}

int root_open(struct root *r, const char *path, const struct log *log, struct err *err)
{
    bool made = mkdir(path, 0700) == 0;
    int probe;

    *r = (struct root){.fd = -1};
    if (!made && errno != EEXIST)
        return err_errno(err, BARID_EIO, errno, "%s cannot be made", path);
    r->fd = open(path, DIR_FLAGS);
    if (r->fd < 0)
        return err_errno(err, BARID_EIO, errno, "%s cannot be opened", path);
    if (made && sync_parent(r->fd) < 0) {
        int saved = errno;

        root_close(r);
        return err_errno(err, BARID_EIO, saved, "the directory that holds %s cannot be synced",
                         path);
    }
    probe = open_by_kernel(r->fd, ".");
    if (probe >= 0) {
        close(probe);
    } else if (errno == ENOSYS || errno == EPERM) {
        r->no_openat2 = true;
        log_record(log, LOG_LEVEL_WARN, "delivery",
                   "no openat2 here: symbolic links below the root are not followed",
                   LOG_CSTR("root", path));
    } else {
        int saved = errno;

        root_close(r);
        return err_errno(err, BARID_EIO, saved, "%s cannot be opened", path);
    }
    return 0;
}

void root_close(struct root *r)
{
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
}
