/* daemon/sandbox_test.c: each attempt in a process of its own that entered the sandbox; what it was answered is its exit
 * status, or the signal that ended it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/slice.h"
#include "daemon/sandbox_config.h"

#define NO_SANDBOX 200 /* exit status of a probe where the kernel lacks what it is about */

static char dir[64]; /* conf/ spool/ mail/ log/ run/ in it are inside of the sandbox, out/ is not */

static const char *in(const char *name)
{
    static char text[4][160];
    static int k;

    k = (k + 1) % 4;
    snprintf(text[k], sizeof(text[k]), "%s/%s", dir, name);
    return text[k];
}

static void put(const char *name, const char *content)
{
    int fd = open(in(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), (ssize_t)strlen(content));
    close(fd);
}

static int set_up(void **state)
{
    static const char *const names[] = {"conf", "log", "run", "out", "conf/real"};

    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/barid-sandbox-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (mkdir(in(names[i]), 0700) != 0)
            return -1;
    put("conf/barid.lua", "-- nothing\n");
    put("conf/users", "");
    put("out/secret", "secret");
    put("out/cert.pem", "certificate");
    return symlink(in("out/secret"), in("conf/link"));
}

static int tear_down(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command) == 0 ? 0 : -1;
}

/* Texts live as long as the process. */
static char *keep(const char *text)
{
    char *copy = strdup(text);

    assert_non_null(copy);
    return copy;
}

static struct config configuration(void)
{
    static struct config_listen listen[1];
    char address[200];

    snprintf(address, sizeof(address), "unix:%s", in("run/lmtp"));
    listen[0] = (struct config_listen){.address = keep(address)};
    return (struct config){.file = keep(in("conf/barid.lua")), .users_file = keep(in("conf/users")),
                           .spool_dir = keep(in("spool")), .maildir_root = keep(in("mail")),
                           .log_file = keep(in("log/barid.log")), .listen = listen, .n_listen = 1};
}

/* 0 = it could, else errno. */
typedef int probe(const struct sandbox *s);

static struct sandbox *enter(void)
{
    const struct config c = configuration();
    struct sandbox *s = sandbox_new();
    struct err err = {0};

    if (sandbox_allow_config(s, &c, &err) != 0 || sandbox_enter(s, &err) != 0) {
        fprintf(stderr, "%s\n", err.text);
        _exit(255);
    }
    return s;
}

/* The status of waitpid. */
static int attempt(probe *fn)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        struct sandbox *s = enter();

        _exit(fn(s));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static int result(int rc)
{
    return rc >= 0 ? 0 : errno;
}

static int opened(const char *path, int flags)
{
    return result(open(path, flags | O_CLOEXEC, 0600));
}

static void answers(probe *fn, int expected)
{
    int status = attempt(fn);

    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NO_SANDBOX)
        skip();
    assert_int_equal(WEXITSTATUS(status), expected);
}

static void ends(probe *fn)
{
    int status = attempt(fn);

    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
}

/* --- files ------------------------------------------------------------------------------------------ */

#define FILE_PROBE(name, expression)                          \
    static int name(const struct sandbox *s)                  \
    {                                                         \
        return sandbox_landlock_abi(s) == 0 ? NO_SANDBOX : (expression); \
    }

FILE_PROBE(write_passwd, opened("/etc/passwd", O_WRONLY | O_APPEND))
FILE_PROBE(write_outside, opened(in("out/new"), O_WRONLY | O_CREAT))
FILE_PROBE(append_outside, opened(in("out/secret"), O_WRONLY | O_APPEND))
FILE_PROBE(remove_outside, result(unlink(in("out/secret"))))
FILE_PROBE(truncate_outside, sandbox_landlock_abi(s) < 3 ? NO_SANDBOX : result(truncate(in("out/secret"), 0)))
FILE_PROBE(rename_out, (put("spool/a", "x"), result(rename(in("spool/a"), in("out/a")))))
FILE_PROBE(link_into, result(link(in("out/secret"), in("spool/b"))))
FILE_PROBE(write_configuration, opened(in("conf/barid.lua"), O_WRONLY))
FILE_PROBE(new_beside_configuration, opened(in("conf/new.lua"), O_WRONLY | O_CREAT))
FILE_PROBE(socket_as_file, opened(in("run/file"), O_WRONLY | O_CREAT))
FILE_PROBE(remove_log, (put("log/barid.log", ""), result(unlink(in("log/barid.log")))))
#if !SANDBOX_SANITIZER
FILE_PROBE(read_outside, opened(in("out/secret"), O_RDONLY))
FILE_PROBE(read_shadow, opened("/etc/shadow", O_RDONLY))
FILE_PROBE(read_by_a_link, opened(in("conf/link"), O_RDONLY))
FILE_PROBE(read_another_process, opened("/proc/1/environ", O_RDONLY))
#endif

static void files_outside_are_refused(void **state)
{
    probe *const all[] = {write_passwd,   write_outside,       append_outside,           remove_outside, truncate_outside,
                          write_configuration, new_beside_configuration, socket_as_file, remove_log,
#if !SANDBOX_SANITIZER
                          read_outside,   read_by_a_link
#endif
    };

    (void)state;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        answers(all[i], EACCES);
    answers(rename_out, EACCES); /* what may be written there is less than here: no EXDEV */
    answers(link_into, EXDEV);
}

static void readable_by_root_alone_does_not_help(void **state)
{
    (void)state;
#if !SANDBOX_SANITIZER
    answers(read_shadow, EACCES);
    answers(read_another_process, EACCES);
#endif
}

static int whole_day(const struct sandbox *s)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0), rc = 0;

    (void)s;
    snprintf(un.sun_path, sizeof(un.sun_path), "%s", in("run/later"));
    rc = rc != 0 ? rc : result(bind(fd, (struct sockaddr *)&un, sizeof(un)));
    rc = rc != 0 ? rc : result(unlink(un.sun_path));
    rc = rc != 0 ? rc : opened(in("conf/users"), O_RDONLY);
    rc = rc != 0 ? rc : opened(in("log/barid.log"), O_WRONLY | O_APPEND | O_CREAT);
    rc = rc != 0 ? rc : result(mkdir(in("mail/u"), 0700));
    rc = rc != 0 ? rc : result(mkdir(in("mail/u/tmp"), 0700));
    rc = rc != 0 ? rc : result(mkdir(in("mail/u/new"), 0700));
    rc = rc != 0 ? rc : opened(in("mail/u/tmp/1"), O_RDWR | O_CREAT | O_EXCL | O_TRUNC);
    rc = rc != 0 ? rc : result(rename(in("mail/u/tmp/1"), in("mail/u/new/1")));
    rc = rc != 0 ? rc : result(link(in("mail/u/new/1"), in("mail/u/tmp/2")));
    rc = rc != 0 ? rc : result(truncate(in("mail/u/new/1"), 0));
    rc = rc != 0 ? rc : result(unlink(in("mail/u/new/1")));
    rc = rc != 0 ? rc : result(unlink(in("mail/u/tmp/2")));
    rc = rc != 0 ? rc : result(rmdir(in("mail/u/new")));
    rc = rc != 0 ? rc : opened("/dev/null", O_RDWR);
    rc = rc != 0 ? rc : opened("/dev/urandom", O_RDONLY);
    rc = rc != 0 ? rc : opened("/etc/hosts", O_RDONLY);
    return rc;
}

static void what_a_mail_server_does_is_allowed(void **state)
{
    (void)state;
    answers(whole_day, 0);
}

/* --- calls ------------------------------------------------------------------------------------------ */

#if !SANDBOX_SANITIZER
static int run_program(const struct sandbox *s)
{
    (void)s;
    execl("/bin/sh", "sh", "-c", "exit 0", (char *)NULL);
    return errno;
}

static int run_program_by_fd(const struct sandbox *s)
{
    static char *const argv[] = {(char *)(uintptr_t) "true", NULL};
    int fd = open("/bin/true", O_RDONLY | O_CLOEXEC);

    (void)s;
    return result((int)syscall(SYS_execveat, fd, "", argv, argv + 1, AT_EMPTY_PATH));
}

static int trace_parent(const struct sandbox *s)
{
    (void)s;
    return result((int)ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
}

static int read_parent(const struct sandbox *s)
{
    (void)s;
    return result((int)syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0));
}
#endif

static int mount_something(const struct sandbox *s)
{
    (void)s;
    return result(mount("none", in("spool"), "tmpfs", 0, NULL));
}

static int leave_root(const struct sandbox *s)
{
    (void)s;
    return result(chroot(in("spool")));
}

static int new_space(const struct sandbox *s)
{
    (void)s;
    return result(unshare(CLONE_NEWUSER));
}

static int load_code(const struct sandbox *s)
{
    (void)s;
    return result((int)syscall(SYS_bpf, 0, NULL, 0));
}

static int use_keys(const struct sandbox *s)
{
    (void)s;
    return result((int)syscall(SYS_keyctl, 0, -3, 0));
}

static int use_uring(const struct sandbox *s)
{
    (void)s;
    return result((int)syscall(SYS_io_uring_setup, 1, NULL));
}

static int clone_space(const struct sandbox *s)
{
    (void)s;
    return result((int)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL));
}

static int clone_three(const struct sandbox *s)
{
    (void)s;
    return result((int)syscall(SYS_clone3, NULL, 0));
}

#if !SANDBOX_SANITIZER
static int make_process(const struct sandbox *s)
{
    (void)s;
    return result(fork());
}
#endif

static void *say_seven(void *user)
{
    *(int *)user = open("/etc/passwd", O_WRONLY) < 0 ? 7 : 0;
    return NULL;
}

/* Threads can be made, and they are inside. */
static int make_thread(const struct sandbox *s)
{
    pthread_t t;
    int n = 0, rc = pthread_create(&t, NULL, say_seven, &n);

    if (rc != 0)
        return rc;
    pthread_join(t, NULL);
    return sandbox_landlock_abi(s) == 0 ? NO_SANDBOX : n;
}

static void calls_of_an_intruder_end_the_process(void **state)
{
    (void)state;
#if !SANDBOX_SANITIZER
    ends(run_program);
    ends(run_program_by_fd);
    ends(trace_parent);
    ends(read_parent);
#endif
    ends(mount_something);
    ends(leave_root);
    ends(new_space);
    ends(load_code);
}

static void calls_of_a_library_are_refused(void **state)
{
    (void)state;
    answers(use_keys, EPERM);
    answers(use_uring, EPERM);
    answers(clone_space, EPERM);
    answers(clone_three, ENOSYS);
#if !SANDBOX_SANITIZER
    answers(make_process, EPERM);
#endif
    answers(make_thread, 7);
}

/* --- what a reload asks for ------------------------------------------------------------------------- */

static int check_reload(const struct sandbox *s, const struct config *c, const char *expected)
{
    struct err err = {0};
    int rc = sandbox_check_config(s, c, &err);

    if (expected == NULL)
        return rc == 0 ? 0 : 1;
    return rc == BARID_EINVALID && strstr(err.text, expected) != NULL && strstr(err.text, "restart") != NULL ? 0 : 2;
}

static int reload_paths(const struct sandbox *s)
{
    struct config c = configuration();
    struct config_listen listen[2] = {c.listen[0]};
    char good[200], wrong[200];
    int bad = 0;

    if (sandbox_landlock_abi(s) == 0)
        return NO_SANDBOX;
    bad |= check_reload(s, &c, NULL);
    c.tls.cert = in("conf/users"); /* any file there */
    bad |= check_reload(s, &c, NULL) << 1;
    c.tls.cert = in("out/cert.pem");
    bad |= check_reload(s, &c, SANDBOX_SANITIZER ? NULL : "tls: ") != 0 ? 4 : 0;
    c.tls.cert = NULL;
    c.log_file = in("out/log");
    bad |= check_reload(s, &c, "log.file: ") != 0 ? 8 : 0;
    c.log_file = in("log/another");
    bad |= check_reload(s, &c, NULL) != 0 ? 16 : 0;
    snprintf(good, sizeof(good), "unix:%s", in("run/another"));
    snprintf(wrong, sizeof(wrong), "unix:%s", in("out/another"));
    c.listen = listen;
    c.n_listen = 2;
    listen[1].address = good;
    bad |= check_reload(s, &c, NULL) != 0 ? 32 : 0;
    listen[1].address = wrong;
    bad |= check_reload(s, &c, "listen: ") != 0 ? 64 : 0;
    return bad;
}

static void a_reload_is_judged_by_its_paths(void **state)
{
    (void)state;
    answers(reload_paths, 0);
}

static void without_landlock_everything_is_permitted(void **state)
{
    struct sandbox *s = sandbox_new();

    (void)state;
    assert_true(sandbox_permits(s, "/etc/passwd", SANDBOX_WRITE));
    assert_true(sandbox_permits(NULL, "/etc/passwd", SANDBOX_WRITE));
    assert_int_equal(sandbox_landlock_abi(s), 0);
    sandbox_del(&s);
    assert_null(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_outside_are_refused),
        cmocka_unit_test(readable_by_root_alone_does_not_help),
        cmocka_unit_test(what_a_mail_server_does_is_allowed),
        cmocka_unit_test(calls_of_an_intruder_end_the_process),
        cmocka_unit_test(calls_of_a_library_are_refused),
        cmocka_unit_test(a_reload_is_judged_by_its_paths),
        cmocka_unit_test(without_landlock_everything_is_permitted),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
