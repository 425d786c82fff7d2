/* daemon/privileges.c: setgroups, setgid, setuid in the only order that works, and proof that there is no way back. */
#include "daemon/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/slice.h"

int identity_find(struct identity *id_r, const char *user, const char *group, struct err *err)
{
    const struct passwd *pw;

    *id_r = (struct identity){.uid = getuid(), .gid = getgid()};
    if (user == NULL)
        return group == NULL ? 0
                             : err_set(err, BARID_EINVALID, "group \"%s\" is given without a user: declare both", group);
    errno = 0;
    pw = getpwnam(user);
    if (pw == NULL)
        return err_set(err, BARID_ENOTFOUND, "user \"%s\" does not exist: create it or change the declaration", user);
    id_r->uid = pw->pw_uid;
    id_r->gid = pw->pw_gid;
    if (group != NULL) {
        const struct group *gr = getgrnam(group);

        if (gr == NULL)
            return err_set(err, BARID_ENOTFOUND, "group \"%s\" does not exist: create it or change the declaration", group);
        id_r->gid = gr->gr_gid;
    }
    if (geteuid() != 0 && (id_r->uid != getuid() || id_r->gid != getgid()))
        return err_set(err, BARID_EINVALID, "user \"%s\" is declared, but only root can become another user", user);
    id_r->user = xstrdup(slice_str(user));
    return 0;
}

void identity_deinit(struct identity *id)
{
    mem_free(NULL, id->user);
    id->user = NULL;
}

static int no_way_back(const struct identity *id, struct err *err)
{
    if (id->uid != 0 && (setuid(0) == 0 || seteuid(0) == 0))
        return err_set(err, BARID_EIO, "root privileges could be regained: refusing to go on");
    if (getuid() != id->uid || geteuid() != id->uid || getgid() != id->gid || getegid() != id->gid)
        return err_set(err, BARID_EIO, "the change to user %s was not complete: refusing to go on", id->user);
    return 0;
}

int privileges_drop(const struct identity *id, struct err *err)
{
    /* Nothing we start may gain rights by a set-user-ID file, whoever we are. */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return err_errno(err, BARID_EIO, errno, "cannot set no_new_privs");
    if (id->user == NULL || geteuid() != 0)
        return 0;
    if (initgroups(id->user, id->gid) != 0 || setresgid(id->gid, id->gid, id->gid) != 0 ||
        setresuid(id->uid, id->uid, id->uid) != 0)
        return err_errno(err, BARID_EIO, errno, "cannot become user %s", id->user);
    return no_way_back(id, err);
}
