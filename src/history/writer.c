/* history/writer.c: the file that is written: begun, appended to, completed. A file that was found is never appended to. */
#include "history/history_int.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/slice.h"

#define DAY_US 86400000000

/* A filter costs FILTER_SIZE; what is smaller than some of it is read sooner than looked up. */
#define FILTER_FROM (8 * FILTER_SIZE)

static int clean(struct writer *w, int64_t now)
{
    return folder_clean(w->dir_fd, w->o->mem, file_day(now - (int64_t)w->o->days * DAY_US),
                        &w->file.number);
}

int writer_init(struct writer *w, const struct history_options *o, struct err *err)
{
    int rc;

    *w = (struct writer){.o = o, .dir_fd = -1, .fd = -1};
    if (mkdir(o->dir, 0700) != 0 && errno != EEXIST)
        return err_errno(err, BARID_EIO, errno, "history: %s cannot be made", o->dir);
    w->dir_fd = open(o->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (w->dir_fd < 0 || faccessat(w->dir_fd, ".", W_OK, 0) != 0)
        return err_errno(err, BARID_EIO, errno, "history: %s cannot be used", o->dir);
    w->filter = mem_alloc(o->mem, FILTER_SIZE);
    rc = w->filter != NULL ? clean(w, clock_wall_us(o->clock)) : BARID_ENOMEM;
    return rc < 0 ? err_set(err, rc, "history: %s: %s", o->dir, barid_strerror(rc)) : 0;
}

static int write_all(int fd, barid_slice s)
{
    while (s.n > 0) {
        ssize_t n = write(fd, s.p, s.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return BARID_EIO;
        s = slice_from(s, (size_t)n);
    }
    return 0;
}

static void complete(struct writer *w)
{
    char footer[FOOTER_SIZE];

    if (w->fd < 0)
        return;
    if (w->size >= FILTER_FROM) { /* without it the file is read whole */
        filter_seal(w->filter);
        footer_make(footer, w->size);
        if (write_all(w->fd, slice_of(w->filter, FILTER_SIZE)) == 0)
            (void)write_all(w->fd, slice_of(footer, FOOTER_SIZE));
    }
    close(w->fd);
    w->fd = -1;
}

static int begin(struct writer *w, int64_t now)
{
    char name[FILE_NAME_SIZE];

    (void)clean(w, now); /* on failure the number of before: O_EXCL then says no */
    w->file.day = file_day(now);
    file_name(w->file, name);
    w->fd = openat(w->dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0640);
    if (w->fd < 0)
        return BARID_EIO;
    memset(w->filter, 0, FILTER_SIZE);
    w->size = HEAD_SIZE;
    return write_all(w->fd, slice_of(FILE_MAGIC, HEAD_SIZE));
}

/* Half a record may be there: nothing may follow it. A file without a whole one goes: a full disk would leave one for each attempt, and
 * they would take the place of those that say something. */
static void give_up(struct writer *w)
{
    char name[FILE_NAME_SIZE];

    if (w->fd < 0)
        return;
    close(w->fd);
    w->fd = -1;
    file_name(w->file, name);
    if (w->size == HEAD_SIZE)
        unlinkat(w->dir_fd, name, 0);
}

int writer_append(struct writer *w, barid_slice records)
{
    int64_t now = clock_wall_us(w->o->clock);
    int rc = 0;

    if (w->fd >= 0 && (w->file.day != file_day(now) || w->size + records.n > w->o->file_max))
        complete(w);
    if (w->fd < 0)
        rc = begin(w, now);
    if (rc == 0)
        rc = write_all(w->fd, records);
    if (rc < 0) {
        give_up(w);
        return rc;
    }
    w->size += records.n;
    for (barid_slice s = records; s.n > 0; s = slice_from(s, entry_length(s, false)))
        filter_add(w->filter, entry_id(s.p));
    return 0;
}

void writer_deinit(struct writer *w)
{
    complete(w);
    if (w->dir_fd >= 0)
        close(w->dir_fd);
    mem_free(w->o->mem, w->filter);
}
