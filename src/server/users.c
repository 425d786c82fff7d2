/*
 * server/users.c: the users file in memory and on disk. Immutable once loaded; a reload loads a
 * new one beside it.
 */
#include "server/users.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "barid/verifier.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/slice.h"

#define USERS_FILE_MAX                                                                         \
    (64u << 20) /* some 500,000 users: more belong into a database behind the auth hook */

static const barid_slice plain_prefix = {"{PLAIN}", 7};

struct users {
    atomic_int refs;
    struct buf text; /* the file; entries point into it */
    struct arena arena;
    struct map by_name;
    bool has_plaintext;
    uint32_t all_can; /* bit (1 << enum barid_auth_mechanism); 0 = no users yet */
};

static int read_file(const char *file, struct buf *out, struct stat *st_r, struct err *err)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno == ENOENT ? BARID_ENOTFOUND : BARID_EIO, errno,
                         "users file %s: cannot open", file);
    int rc = 0;
    if (fstat(fd, st_r) < 0)
        rc = err_errno(err, BARID_EIO, errno, "users file %s: cannot stat", file);
    else if (!S_ISREG(st_r->st_mode))
        rc = err_set(err, BARID_EIO, "users file %s: not a regular file", file);
    while (rc == 0) {
        ssize_t n;
        if (buf_reserve(out, 16384) < 0) {
            rc = err_set(err, BARID_ENOMEM, "users file %s: larger than %u octets or no memory",
                         file, USERS_FILE_MAX);
        } else if ((n = read(fd, out->p + out->len, 16384)) < 0) {
            rc = err_errno(err, BARID_EIO, errno, "users file %s: cannot read", file);
        } else if (n == 0) {
            break;
        } else {
            out->len += (size_t)n;
        }
    }
    close(fd);
    return rc;
}

#define BIT(m)        (1u << (m))
#define OF_PLAINTEXT (BIT(BARID_AUTH_CRAM_MD5) | BIT(BARID_AUTH_SCRAM_SHA_1) | BIT(BARID_AUTH_SCRAM_SHA_256))

/* can_r: the mechanisms that do without a password on the wire and that this secret serves. */
static int check_secret(barid_slice *secret, bool *plaintext_r, uint32_t *can_r)
{
    *plaintext_r = slice_starts_nocase(*secret, plain_prefix);
    if (*plaintext_r) {
        *secret = slice_from(*secret, plain_prefix.n);
        *can_r = OF_PLAINTEXT;
        return secret->n ? 0 : BARID_ESYNTAX;
    }
    barid_verifier v;
    int rc = barid_verifier_parse(*secret, &v);
    *can_r = rc == 0 ? BIT(v.mechanism) : 0;
    mem_wipe(&v, sizeof v);
    return rc;
}

static int add_line(struct users *u, barid_slice line, const char *file, size_t number,
                    struct err *err)
{
    barid_slice secret, name = slice_cut(line, ':', &secret);
    struct user_entry *e;
    bool plaintext;
    uint32_t can;
    if (name.n == 0 || secret.n == 0)
        return err_set(err, BARID_ESYNTAX, "%s:%zu: not a line \"name:secret\"", file, number);
    if (check_secret(&secret, &plaintext, &can) < 0)
        return err_set(
            err, BARID_ESYNTAX,
            "%s:%zu: secret of \"%.*s\" is neither a SCRAM verifier nor {PLAIN}password: "
            "make it with barid passwd",
            file, number, (int)(name.n < 64 ? name.n : 64), name.p);
    if (map_get(&u->by_name, name))
        return err_set(err, BARID_ESYNTAX, "%s:%zu: user \"%.*s\" stands twice", file, number,
                       (int)(name.n < 64 ? name.n : 64), name.p);
    if (!(e = arena_alloc(&u->arena, sizeof *e)) || map_put(&u->by_name, name, e, NULL) < 0)
        return err_set(err, BARID_ENOMEM, "users file %s: out of memory", file);
    *e = (struct user_entry){.name = name, .secret = secret, .plaintext = plaintext};
    u->has_plaintext |= plaintext;
    u->all_can = u->by_name.count == 1 ? can : u->all_can & can;
    return 0;
}

static bool is_comment(barid_slice line)
{
    return line.n == 0 || line.p[0] == '#';
}

static int parse(struct users *u, const char *file, struct err *err)
{
    barid_slice rest = buf_slice(&u->text);
    for (size_t number = 1; rest.n; number++) {
        barid_slice line = slice_trim(slice_cut(rest, '\n', &rest));
        int rc = is_comment(line) ? 0 : add_line(u, line, file, number, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static struct users *users_new(void)
{
    struct users *u = mem_zalloc(NULL, sizeof *u);
    uint64_t seed[2];
    if (!u)
        return NULL;
    rng_fill(&rng_system, seed, sizeof seed);
    atomic_init(&u->refs, 1);
    buf_init(&u->text, NULL, USERS_FILE_MAX);
    u->text.secret = true;
    arena_init(&u->arena, NULL, 0);
    map_init(&u->by_name, NULL, seed);
    return u;
}

int users_parse(struct users **u_r, barid_slice text, const char *file, struct err *err)
{
    struct users *u = users_new();
    *u_r = NULL;
    if (!u)
        return err_set(err, BARID_ENOMEM, "users file %s: out of memory", file);
    int rc = buf_append(&u->text, text);
    if (rc < 0)
        err_set(err, rc, "users file %s: larger than %u octets or no memory", file,
                USERS_FILE_MAX);
    else
        rc = parse(u, file, err);
    if (rc < 0)
        users_unref(&u);
    *u_r = u;
    return rc;
}

int users_load(struct users **u_r, const char *file, struct err *err, const char **warning_r)
{
    struct users *u = users_new();
    struct stat st;
    if (!u)
        return err_set(err, BARID_ENOMEM, "users file %s: out of memory", file);
    int rc = read_file(file, &u->text, &st, err);
    if (rc == 0)
        rc = parse(u, file, err);
    if (rc < 0) {
        users_unref(&u);
        return rc;
    }
    if (warning_r)
        *warning_r = (st.st_mode & 0027)
                         ? "users file can be read by others: chmod 0640 or stricter"
                         : NULL;
    *u_r = u;
    return 0;
}

struct users *users_ref(struct users *u)
{
    if (u)
        atomic_fetch_add_explicit(&u->refs, 1, memory_order_relaxed);
    return u;
}

void users_unref(struct users **u)
{
    struct users *x = *u;
    *u = NULL;
    if (!x || atomic_fetch_sub_explicit(&x->refs, 1, memory_order_acq_rel) != 1)
        return;
    map_deinit(&x->by_name);
    arena_deinit(&x->arena);
    buf_wipe(&x->text);
    mem_free(NULL, x);
}

const struct user_entry *users_find(const struct users *u, barid_slice name)
{
    return u ? map_get(&u->by_name, name) : NULL;
}

void users_each(const struct users *u, void (*fn)(void *user, const struct user_entry *entry), void *user)
{
    barid_slice rest = buf_slice(&u->text);

    while (rest.n > 0) {
        barid_slice secret, line = slice_trim(slice_cut(rest, '\n', &rest));

        if (!is_comment(line))
            fn(user, users_find(u, slice_cut(line, ':', &secret)));
    }
}

bool users_all_can(const struct users *u, enum barid_auth_mechanism mechanism)
{
    return u && (u->all_can & BIT(mechanism));
}

bool users_has_plaintext(const struct users *u)
{
    return u && u->has_plaintext;
}

/* --- changing the file --- */

/* Root may change the file of another user, who has to be able to read the new one too. */
static int keep_owner(int fd, const struct stat *old)
{
    struct stat st;
    if (!old)
        return 0;
    if (fstat(fd, &st) < 0)
        return -1;
    return st.st_uid == old->st_uid && st.st_gid == old->st_gid
               ? 0
               : fchown(fd, old->st_uid, old->st_gid);
}

/* old NULL: there was no file. */
static int write_beside(const char *file, const struct stat *old, const struct buf *text,
                        struct err *err)
{
    char tmp[4096], dir[4096];
    if (snprintf(tmp, sizeof tmp, "%s.new", file) >= (int)sizeof tmp)
        return err_set(err, BARID_ELIMIT, "users file %s: path too long", file);
    const char *slash = strrchr(file, '/');
    snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - file) + 1 : 1, slash ? file : ".");
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(err, BARID_EIO, errno, "%s: cannot create", tmp);
    if (keep_owner(fd, old) < 0) {
        int why = errno;
        close(fd);
        unlink(tmp);
        return err_errno(err, BARID_EIO, why, "%s: cannot keep owner and group", file);
    }
    bool ok = fchmod(fd, old ? old->st_mode & 0777 : 0600) == 0;
    for (size_t at = 0; ok && at < text->len;) {
        ssize_t n = write(fd, text->p + at, text->len - at);
        ok = n > 0;
        at += ok ? (size_t)n : 0;
    }
    ok = ok && fsync(fd) == 0;
    int saved = errno;
    ok = close(fd) == 0 && ok;
    if (!ok || rename(tmp, file) < 0) {
        saved = ok ? errno : saved;
        unlink(tmp);
        return err_errno(err, BARID_EIO, saved, "%s: cannot write", file);
    }
    int d = open(dir, O_RDONLY | O_DIRECTORY |
                          O_CLOEXEC); /* the rename is durable only with its directory */
    if (d >= 0) {
        fsync(d);
        close(d);
    }
    return 0;
}

/* Copies the lines of old to out, leaving out name's; *found_r tells whether it was there. */
static int copy_without(const struct buf *old, barid_slice name, struct buf *out, bool *found_r)
{
    barid_slice rest = buf_slice(old), unused;
    *found_r = false;
    while (rest.n) {
        barid_slice line = slice_cut(rest, '\n', &rest);
        if (!is_comment(slice_trim(line)) &&
            slice_eq(slice_cut(slice_trim(line), ':', &unused), name)) {
            *found_r = true;
            continue;
        }
        if (buf_append(out, line) < 0 || buf_byte(out, '\n') < 0)
            return BARID_ENOMEM;
    }
    return 0;
}

static int change(const char *file, barid_slice name, const barid_slice *secret,
                  struct err *err)
{
    struct buf old, out;
    bool found = false;
    struct stat st;
    buf_init(&old, NULL, USERS_FILE_MAX);
    buf_init(&out, NULL, USERS_FILE_MAX);
    old.secret = out.secret = true;
    int rc = read_file(file, &old, &st, err);
    const bool is_new = rc == BARID_ENOTFOUND && secret;
    if (is_new)
        rc = 0;
    if (rc == 0 && copy_without(&old, name, &out, &found) < 0)
        rc = err_set(err, BARID_ENOMEM, "users file %s: out of memory", file);
    if (rc == 0 && secret &&
        (buf_append(&out, name) < 0 || buf_byte(&out, ':') < 0 ||
         buf_append(&out, *secret) < 0 || buf_byte(&out, '\n') < 0))
        rc = err_set(err, BARID_ENOMEM, "users file %s: out of memory", file);
    if (rc == 0 && !secret && !found)
        rc = err_set(err, BARID_ENOTFOUND, "users file %s: no user \"%.*s\"", file, (int)name.n,
                     name.p);
    if (rc == 0)
        rc = write_beside(file, is_new ? NULL : &st, &out, err);
    buf_wipe(&old);
    buf_wipe(&out);
    return rc;
}

int users_set(const char *file, barid_slice name, barid_slice secret, struct err *err)
{
    barid_slice checked = secret;
    bool plaintext;
    uint32_t can;
    if (name.n == 0 || slice_find(name, ':') < name.n || slice_find(name, '\n') < name.n ||
        name.p[0] == '#' || !slice_eq(slice_trim(name), name))
        return err_set(
            err, BARID_ESYNTAX,
            "a user name is not empty and has no ':', line end, leading '#' or outer space");
    if (slice_find(secret, '\n') < secret.n || slice_find(secret, '\r') < secret.n ||
        check_secret(&checked, &plaintext, &can) < 0 || !slice_eq(slice_trim(secret), secret))
        return err_set(
            err, BARID_ESYNTAX,
            "the secret of %.*s is neither a SCRAM verifier nor {PLAIN}password on one line",
            (int)name.n, name.p);
    return change(file, name, &secret, err);
}

int users_remove(const char *file, barid_slice name, struct err *err)
{
    return change(file, name, NULL, err);
}
