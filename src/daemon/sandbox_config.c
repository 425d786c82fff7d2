/* daemon/sandbox_config.c: see sandbox_config.h. */
#include "daemon/sandbox_config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/slice.h"
#include "io/listener.h"
#include "spool/spool_open.h"

#define OUTSIDE "outside of the sandbox that the daemon entered at start: restart for it"
#define RESOLV_CONF "/etc/resolv.conf"

/* What a reload may ask for: each path with its access, until one answers other than 0. */
typedef int each_path(void *user, const char *what, const char *path, unsigned access);

static int each_tls(const struct config_tls *t, each_path *fn, void *user)
{
    const char *const files[] = {t->cert, t->key, t->client_ca};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < 3; i++)
        if (files[i] != NULL)
            rc = fn(user, "tls", files[i], SANDBOX_READ);
    for (size_t i = 0; rc == 0 && i < t->n_sni; i++) {
        if (t->sni[i].cert != NULL)
            rc = fn(user, "tls.sni", t->sni[i].cert, SANDBOX_READ);
        if (rc == 0 && t->sni[i].key != NULL)
            rc = fn(user, "tls.sni", t->sni[i].key, SANDBOX_READ);
    }
    return rc;
}

/* The path of a unix socket, or false. */
static bool socket_path(const char *address, struct listen_address *a)
{
    return address != NULL && listen_address_parse(slice_str(address), a, NULL) == 0 &&
           a->endpoint.family == BARID_FAMILY_UNIX;
}

static int each_of_config(const struct config *c, each_path *fn, void *user)
{
    struct listen_address a;
    int rc = fn(user, "configuration", c->file, SANDBOX_READ);

    if (rc == 0)
        rc = each_tls(&c->tls, fn, user);
    if (rc == 0 && c->users_file != NULL)
        rc = fn(user, "auth.users", c->users_file, SANDBOX_READ);
    if (rc == 0 && c->relay.ca != NULL)
        rc = fn(user, "relay.ca", c->relay.ca, SANDBOX_READ);
    if (rc == 0 && c->log_file != NULL)
        rc = fn(user, "log.file", c->log_file, SANDBOX_APPEND);
    for (size_t i = 0; rc == 0 && i < c->n_listen; i++) {
        rc = each_tls(&c->listen[i].tls_files, fn, user);
        if (rc == 0 && socket_path(c->listen[i].address, &a))
            rc = fn(user, "listen", a.path, SANDBOX_SOCKETS);
    }
    return rc;
}

/* --- at start --------------------------------------------------------------------------------------- */

static int allow_one(void *user, const char *what, const char *path, unsigned access)
{
    (void)what;
    sandbox_allow_near(user, path, access);
    return 0;
}

/* What libraries read later: resolver, certificates of others, time zones, character sets, modules loaded on demand. */
static void allow_system(struct sandbox *s)
{
    static const char *const files[] = {
        "/usr", "/lib", "/lib32", "/lib64", "/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/ca-certificates", "/etc/localtime",
        "/etc/timezone", "/etc/ld.so.cache", RESOLV_CONF, "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf",
        "/etc/gai.conf", "/etc/services", "/etc/protocols", "/dev/urandom", "/dev/random", "/proc/self",
        "/proc/sys/vm", "/sys/devices/system/cpu"};
    static const char *const variables[] = {"SSL_CERT_FILE", "SSL_CERT_DIR", "TZDIR"};
    char target[PATH_MAX];

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        sandbox_allow(s, files[i], SANDBOX_READ);
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
        if (getenv(variables[i]) != NULL)
            sandbox_allow(s, getenv(variables[i]), SANDBOX_READ);
    sandbox_allow(s, "/dev/null", SANDBOX_DEVICE);
    /* A link into a directory of a resolver, where it is replaced now and then. Never all of /etc. */
    if (realpath(RESOLV_CONF, target) != NULL && strncmp(target, "/run/", 5) == 0)
        sandbox_allow_near(s, target, SANDBOX_READ);
    if (SANDBOX_SANITIZER)
        sandbox_allow(s, "/", SANDBOX_READ);
#ifdef SANDBOX_COVERAGE_DIR /* counts of a coverage build are written when the process ends */
    sandbox_allow(s, SANDBOX_COVERAGE_DIR, SANDBOX_WRITE);
#endif
}

static int sync_parent(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int parent = fd >= 0 ? openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    int rc = parent >= 0 ? fsync(parent) : -1, saved = errno;

    if (fd >= 0)
        close(fd);
    if (parent >= 0)
        close(parent);
    errno = saved;
    return rc;
}

static int allow_tree(struct sandbox *s, const char *path, struct err *err)
{
    if (path == NULL)
        return 0;
    if (mkdir(path, 0700) == 0) {
        if (sync_parent(path) != 0)
            return err_errno(err, BARID_EIO, errno, "the directory that holds %s cannot be synced", path);
    } else if (errno != EEXIST) {
        return err_errno(err, BARID_EIO, errno, "%s cannot be made", path);
    }
    sandbox_allow(s, path, SANDBOX_WRITE);
    return 0;
}

int sandbox_allow_config(struct sandbox *s, const struct config *c, struct err *err)
{
    struct listen_address a;
    int rc = allow_tree(s, c->spool_dir, err);

    if (rc == 0)
        rc = allow_tree(s, c->maildir_root, err);
    if (rc == 0)
        rc = allow_tree(s, c->archive_root, err);
    if (rc == 0)
        rc = allow_tree(s, c->history_dir, err);
    if (rc == 0)
        rc = allow_tree(s, c->history_dir, err);
    if (rc < 0)
        return rc;
    each_of_config(c, allow_one, s);
    if (socket_path(c->control_listen, &a))
        sandbox_allow_near(s, a.path, SANDBOX_SOCKETS);
    allow_system(s);
    return 0;
}

int sandbox_start(struct sandbox **s_r, const struct config *c, struct err *err)
{
    struct sandbox *s = *s_r = sandbox_new();
    int rc = spool_log_check(c->spool_dir, err);

    if (rc == 0)
        rc = sandbox_allow_config(s, c, err);
    return rc == 0 ? sandbox_enter(s, err) : rc;
}

/* --- a reload --------------------------------------------------------------------------------------- */

struct check {
    const struct sandbox *s;
    struct err *err;
};

static int check_one(void *user, const char *what, const char *path, unsigned access)
{
    struct check *k = user;

    if (sandbox_permits(k->s, path, access))
        return 0;
    return err_set(k->err, BARID_EINVALID, "%s: %s is " OUTSIDE, what, path);
}

const char *sandbox_why(const struct sandbox *s, const char *path)
{
    return sandbox_permits(s, path, SANDBOX_READ) ? NULL : OUTSIDE;
}

/* Replaced under its name: the rule was for the old file. Without it c-ares would ask this machine. */
static int check_resolver(const struct sandbox *s, const struct config *c, struct err *err)
{
    int fd;

    if (sandbox_landlock_abi(s) == 0 || c->n_dns_servers > 0)
        return 0;
    fd = open(RESOLV_CONF, O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    else if (errno == EACCES)
        return err_set(err, BARID_EINVALID, RESOLV_CONF " was replaced since the daemon entered its sandbox: restart, or "
                                                        "declare  dns { servers = { ... } }");
    return 0;
}

int sandbox_check_config(const struct sandbox *s, const struct config *c, struct err *err)
{
    struct check k = {.s = s, .err = err};
    int rc = each_of_config(c, check_one, &k);

    return rc == 0 ? check_resolver(s, c, err) : rc;
}
