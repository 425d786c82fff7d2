/*
 * daemon/sandbox_calls.c: system calls that a mail server never makes, by seccomp.
 *
 * A list of what is refused, not of what is allowed: the C library and OpenSSL use new calls with each release, and a mail
 * server that dies of an update loses more than it gains. Two answers:
 *  - the process ends (SIGSYS) where the call can only be the work of an intruder: other programs, other processes, the
 *    kernel, the file system's shape. An intruder who may try again and again finds another way.
 *  - EPERM where a library may ask to see whether it can: then it goes on without.
 * ENOSYS for clone3, whose flags a filter cannot see: the C library then uses clone, whose flags it can. Calls of another
 * architecture end the process (libseccomp's default), or the list could be walked around.
 */
#include "daemon/sandbox.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/prctl.h>

struct refused {
    const char *name;
    uint32_t action;
};

#define END SCMP_ACT_KILL_PROCESS
#define NO SCMP_ACT_ERRNO(EPERM)

static const struct refused refused[] = {
#if !SANDBOX_SANITIZER
    /* other programs */
    {"execve", END}, {"execveat", END}, {"fork", NO}, {"vfork", NO},
    /* other processes */
    {"ptrace", END}, {"process_vm_readv", END}, {"process_vm_writev", END},
    {"personality", NO},
#endif
    {"kcmp", NO}, {"pidfd_getfd", END},
    /* the kernel */
    {"kexec_load", END}, {"kexec_file_load", END}, {"init_module", END}, {"finit_module", END}, {"delete_module", END},
    {"create_module", END}, {"bpf", END}, {"reboot", END}, {"swapon", END}, {"swapoff", END}, {"iopl", END}, {"ioperm", END},
    {"perf_event_open", NO}, {"userfaultfd", NO}, {"syslog", NO}, {"acct", END}, {"lookup_dcookie", NO}, {"uselib", NO},
    {"modify_ldt", NO}, {"vm86", NO}, {"vm86old", NO}, {"nfsservctl", NO}, {"io_uring_setup", NO}, {"io_uring_enter", NO},
    {"io_uring_register", NO}, {"quotactl", NO}, {"quotactl_fd", NO}, {"vhangup", NO},
    /* keys of others */
    {"keyctl", NO}, {"add_key", NO}, {"request_key", NO},
    /* the shape of the file system, name spaces, handles that walk around paths */
    {"mount", END}, {"umount", END}, {"umount2", END}, {"pivot_root", END}, {"chroot", END}, {"setns", END}, {"unshare", END},
    {"move_mount", END}, {"fsopen", END}, {"fsconfig", END}, {"fsmount", END}, {"fspick", END}, {"open_tree", END},
    {"mount_setattr", END}, {"open_by_handle_at", END}, {"mknod", NO}, {"mknodat", NO}, {"fanotify_init", NO},
    /* the machine's clock and name */
    {"settimeofday", NO}, {"clock_settime", NO}, {"stime", NO}, {"sethostname", NO}, {"setdomainname", NO},
};

static int add_names(scmp_filter_ctx ctx)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < sizeof(refused) / sizeof(refused[0]); i++) {
        int nr = seccomp_syscall_resolve_name(refused[i].name);

        if (nr != __NR_SCMP_ERROR) /* not known to this library or architecture: then there is no such call to refuse */
            rc = seccomp_rule_add(ctx, refused[i].action, nr, 0);
    }
    return rc;
}

/* Threads, and nothing else that clone can make. */
static int add_clone(scmp_filter_ctx ctx)
{
    static const uint64_t spaces[] = {CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID,
                                      CLONE_NEWNET};
    int rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);

    for (size_t i = 0; rc == 0 && i < sizeof(spaces) / sizeof(spaces[0]); i++)
        rc = seccomp_rule_add(ctx, NO, SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, spaces[i], spaces[i]));
    if (rc == 0 && !SANDBOX_SANITIZER)
        rc = seccomp_rule_add(ctx, NO, SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
    return rc;
}

static bool has_seccomp(void)
{
    /* EINVAL: built without it. With the filter mode and no filter the answer of a kernel that has it is EFAULT. */
    return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0 && prctl(PR_SET_SECCOMP, 2 /* filter */, NULL, 0, 0) < 0 && errno == EFAULT;
}

int sandbox_refuse_calls(struct err *err)
{
    scmp_filter_ctx ctx;
    int rc;

    if (!has_seccomp())
        return 0;
    ctx = seccomp_init(SCMP_ACT_ALLOW);
    if (ctx == NULL)
        return err_set(err, BARID_ENOMEM, "sandbox: out of memory for the list of system calls");
    rc = add_names(ctx);
    if (rc == 0)
        rc = add_clone(ctx);
    if (rc == 0)
        rc = seccomp_load(ctx);
    seccomp_release(ctx);
    return rc == 0 ? 1 : err_errno(err, BARID_EIO, -rc, "sandbox: the list of system calls cannot be loaded (declare  "
                                                       "sandbox \"off\"  to go without)");
}
