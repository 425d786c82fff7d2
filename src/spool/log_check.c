/* spool/log_check.c: is this directory one that spool_log_open would refuse as something else? Looks, changes nothing. */
#include "spool/spool_open.h"

#include <dirent.h>
#include <string.h>

/* What an interrupted first start leaves; see log_dir.h. */
static bool is_ours(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "LOCK") == 0 || strcmp(name, "FORMAT.new") == 0;
}

int spool_log_check(const char *dir, struct err *e)
{
    DIR *d = opendir(dir);
    bool foreign = false, format = false;
    struct dirent *entry;

    if (d == NULL) /* not there, or not to be looked at: open says which */
        return 0;
    while ((entry = readdir(d)) != NULL) {
        format |= strcmp(entry->d_name, "FORMAT") == 0;
        foreign |= !is_ours(entry->d_name);
    }
    closedir(d);
    if (foreign && !format)
        return err_set(e, BARID_EINVALID, "%s is not a spool and not empty: name another directory", dir);
    return 0;
}
