/*
 * daemon/sandbox.c: the list of paths, and Landlock made from it.
 *
 * Landlock is spoken to by its system calls: Debian 12 has no library for it. The ABI is asked at run time and only rights
 * that it knows are handled, so that one binary does what each kernel can. ABI 1 is not used: there any rename from one
 * directory to another is refused, and a Maildir is nothing else.
 *
 * The list is kept after sandbox_enter: a reload asks it first, so that what would fail later in a worker is refused at once
 * with the path in the message. It compares names (links resolved); the kernel compares directories.
 */
#include "daemon/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/slice.h"

/* The same numbers on every architecture but alpha. */
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

/* Of the kernel's interface, which only grows; headers of the build machine may know less than the kernel. */
#define LL_EXECUTE (UINT64_C(1) << 0)
#define LL_WRITE_FILE (UINT64_C(1) << 1)
#define LL_READ_FILE (UINT64_C(1) << 2)
#define LL_READ_DIR (UINT64_C(1) << 3)
#define LL_REMOVE_DIR (UINT64_C(1) << 4)
#define LL_REMOVE_FILE (UINT64_C(1) << 5)
#define LL_MAKE_DIR (UINT64_C(1) << 7)
#define LL_MAKE_REG (UINT64_C(1) << 8)
#define LL_MAKE_SOCK (UINT64_C(1) << 9)
#define LL_REFER (UINT64_C(1) << 13)     /* ABI 2: rename and link between directories */
#define LL_TRUNCATE (UINT64_C(1) << 14)  /* ABI 3 */
#define LL_IOCTL_DEV (UINT64_C(1) << 15) /* ABI 5 */
#define LL_OF_FILES (LL_EXECUTE | LL_WRITE_FILE | LL_READ_FILE | LL_TRUNCATE | LL_IOCTL_DEV)
#define LL_SCOPE_SIGNAL (UINT64_C(1) << 1) /* ABI 6: no signals to processes outside */
#define LL_VERSION 1                       /* flag of create_ruleset: tell the ABI */
#define LL_PATH_BENEATH 1
#define LL_ABI_MIN 2

struct ll_ruleset {
    uint64_t fs, net, scoped;
};
struct ll_beneath {
    uint64_t access;
    int32_t fd;
} __attribute__((packed));

struct sandbox_rule {
    char *path; /* canonical */
    unsigned access;
};

struct sandbox {
    struct sandbox_rule *v;
    size_t n;
    bool full;   /* SANDBOX_RULES_MAX: sandbox_enter fails */
    int abi;     /* of the kernel; 0 = none */
    bool inside; /* Landlock is in force */
    bool calls;  /* seccomp is in force */
};

struct sandbox *sandbox_new(void)
{
    return xalloc(sizeof(struct sandbox));
}

void sandbox_del(struct sandbox **s_p)
{
    struct sandbox *s = *s_p;

    *s_p = NULL;
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->n; i++)
        mem_free(NULL, s->v[i].path);
    mem_free(NULL, s->v);
    mem_free(NULL, s);
}

/* --- the list ------------------------------------------------------------------------------------- */

static void add(struct sandbox *s, const char *canonical, unsigned access)
{
    struct sandbox_rule *v;

    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->v[i].path, canonical) == 0) {
            s->v[i].access |= access;
            return;
        }
    if (s->n == SANDBOX_RULES_MAX) {
        s->full = true;
        return;
    }
    if ((s->n & (s->n - 1)) == 0) { /* room doubles */
        v = xalloc((s->n == 0 ? 1 : 2 * s->n) * sizeof(*v));
        if (s->n > 0)
            memcpy(v, s->v, s->n * sizeof(*v));
        mem_free(NULL, s->v);
        s->v = v;
    }
    s->v[s->n++] = (struct sandbox_rule){.path = xstrdup(slice_str(canonical)), .access = access};
}

void sandbox_allow(struct sandbox *s, const char *path, unsigned access)
{
    char canonical[PATH_MAX];

    if (realpath(path, canonical) != NULL)
        add(s, canonical, access);
}

/* The directory part of path with links resolved. False: there is none. */
static bool parent_of(const char *path, char canonical[PATH_MAX])
{
    char text[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t n = slash != NULL ? (size_t)(slash - path) : 0;

    if (slash == NULL)
        return realpath(".", canonical) != NULL;
    if (n >= sizeof(text))
        return false;
    memcpy(text, path, n);
    text[n] = '\0';
    return realpath(n > 0 ? text : "/", canonical) != NULL;
}

static void allow_parent(struct sandbox *s, const char *path, unsigned access)
{
    char parent[PATH_MAX];

    if (!parent_of(path, parent))
        return;
    /* All files of the machine would be no sandbox. */
    if (strcmp(parent, "/") == 0)
        sandbox_allow(s, path, access & (SANDBOX_READ | SANDBOX_APPEND));
    else
        add(s, parent, access);
}

void sandbox_allow_near(struct sandbox *s, const char *path, unsigned access)
{
    char target[PATH_MAX];

    allow_parent(s, path, access);
    if (realpath(path, target) != NULL)
        allow_parent(s, target, access);
}

static bool is_beneath(const char *path, const char *root)
{
    size_t n = strlen(root);

    if (n == 1) /* "/" */
        return true;
    return strncmp(path, root, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

static bool has_rule(const struct sandbox *s, const char *canonical, unsigned access)
{
    unsigned got = 0;

    for (size_t i = 0; i < s->n; i++)
        if (is_beneath(canonical, s->v[i].path))
            got |= s->v[i].access;
    if ((got & SANDBOX_WRITE) != 0)
        got |= SANDBOX_READ | SANDBOX_APPEND;
    return (got & access) == access;
}

static bool is_there(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

bool sandbox_permits(const struct sandbox *s, const char *path, unsigned access)
{
    char canonical[PATH_MAX];

    if (s == NULL || !s->inside)
        return true;
    if (realpath(path, canonical) != NULL && has_rule(s, canonical, access))
        return true;
    /* A file that is to be made. One that exists as a link was judged by what it links to. */
    if (access == SANDBOX_READ || (access == SANDBOX_APPEND && is_there(path)))
        return false;
    return parent_of(path, canonical) && has_rule(s, canonical, access);
}

/* --- the kernel ----------------------------------------------------------------------------------- */

static uint64_t handled_by(int abi)
{
    /* Bits 0 to 12 are ABI 1. */
    uint64_t fs = (UINT64_C(1) << 13) - 1;

    if (abi >= 2)
        fs |= LL_REFER;
    if (abi >= 3)
        fs |= LL_TRUNCATE;
    if (abi >= 5)
        fs |= LL_IOCTL_DEV;
    return fs;
}

static uint64_t rights_of(unsigned access)
{
    uint64_t fs = 0;

    if ((access & SANDBOX_READ) != 0)
        fs |= LL_READ_FILE | LL_READ_DIR;
    if ((access & SANDBOX_WRITE) != 0)
        fs |= LL_READ_FILE | LL_READ_DIR | LL_WRITE_FILE | LL_TRUNCATE | LL_MAKE_REG | LL_MAKE_DIR | LL_REMOVE_FILE |
              LL_REMOVE_DIR | LL_REFER;
    if ((access & SANDBOX_APPEND) != 0)
        fs |= LL_WRITE_FILE | LL_MAKE_REG;
    if ((access & SANDBOX_SOCKETS) != 0)
        fs |= LL_MAKE_SOCK | LL_REMOVE_FILE;
    if ((access & SANDBOX_DEVICE) != 0)
        fs |= LL_READ_FILE | LL_WRITE_FILE;
    return fs;
}

static int add_rule(const struct sandbox *s, int ruleset, const struct sandbox_rule *r, struct err *err)
{
    struct ll_beneath beneath = {.access = rights_of(r->access) & handled_by(s->abi)};
    struct stat st;
    long rc;

    beneath.fd = open(r->path, O_PATH | O_CLOEXEC);
    if (beneath.fd < 0) /* not ours to look at: then it is not ours to use either */
        return 0;
    if (fstat(beneath.fd, &st) == 0 && !S_ISDIR(st.st_mode))
        beneath.access &= LL_OF_FILES;
    rc = beneath.access == 0 ? 0 : syscall(SYS_landlock_add_rule, ruleset, LL_PATH_BENEATH, &beneath, 0);
    if (rc != 0)
        rc = err_errno(err, BARID_EIO, errno, "sandbox: cannot allow %s (declare  sandbox \"off\"  to go without)", r->path);
    close(beneath.fd);
    return (int)rc;
}

static int make_ruleset(const struct sandbox *s, struct err *err)
{
    const struct ll_ruleset attr = {.fs = handled_by(s->abi), .scoped = s->abi >= 6 ? LL_SCOPE_SIGNAL : 0};
    size_t size = s->abi >= 6 ? sizeof(attr) : s->abi >= 4 ? 2 * sizeof(uint64_t) : sizeof(uint64_t);
    int fd = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);

    return fd >= 0 ? fd : err_errno(err, BARID_EIO, errno, "sandbox: the kernel refuses a set of Landlock rules");
}

static int restrict_files(struct sandbox *s, struct err *err)
{
    int fd = make_ruleset(s, err), rc = 0;

    if (fd < 0)
        return fd;
    for (size_t i = 0; rc == 0 && i < s->n; i++)
        rc = add_rule(s, fd, &s->v[i], err);
    if (rc == 0 && syscall(SYS_landlock_restrict_self, fd, 0) != 0)
        rc = err_errno(err, BARID_EIO, errno, "sandbox: Landlock cannot be entered");
    close(fd);
    s->inside = rc == 0;
    return rc;
}

int sandbox_enter(struct sandbox *s, struct err *err)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LL_VERSION);
    int rc = 0;

    if (s->full)
        return err_set(err, BARID_ELIMIT, "sandbox: more than %d directories are declared", SANDBOX_RULES_MAX);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return err_errno(err, BARID_EIO, errno, "cannot set no_new_privs");
    s->abi = abi > 0 ? (int)abi : 0; /* ENOSYS, EOPNOTSUPP; EPERM below the filter of a container */
    if (s->abi >= LL_ABI_MIN)
        rc = restrict_files(s, err);
    if (rc == 0)
        rc = sandbox_refuse_calls(err);
    s->calls = rc > 0;
    return rc < 0 ? rc : 0;
}

int sandbox_landlock_abi(const struct sandbox *s)
{
    return s->inside ? s->abi : 0;
}

void sandbox_say(const struct sandbox *s, const struct log *log)
{
    bool whole = s != NULL && s->inside && s->calls;

    if (s == NULL) {
        log_write(log, LOG_LEVEL_WARN, "daemon", "sandbox: off by declaration", NULL);
        return;
    }
    log_record(log, whole ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "daemon",
               whole ? "sandbox" : "sandbox: this kernel lacks a part of it, going on without",
               LOG_CSTR("landlock", s->inside ? "on" : s->abi > 0 ? "off: ABI 1 refuses renames that mail needs" : "off"),
               LOG_INT("landlock_abi", s->abi), LOG_CSTR("seccomp", s->calls ? "on" : "off"), LOG_INT("rules", s->n),
               LOG_CSTR("except", SANDBOX_SANITIZER ? "ptrace, execve, fork and reading, for the sanitizer" : NULL));
}
