/*
 * history/read.c: all entries of one mail, out of all files. A complete file is asked by one read of its filter; the others, and those
 * where it says maybe, are read from end to end.
 */
#include "history/history_int.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/slice.h"

#define READ_BUFFER                                                                            \
    (2 * ENTRY_MAX) /* always room for a whole record behind what is left of the last read */

struct scan {
    uint64_t id;
    bool (*each)(void *user, const struct history_entry *e);
    void *user;
    char *buffer;
    bool enough;
};

/* False when the id is certainly not in there; *end_r: where the records end. */
static bool may_have(int fd, uint64_t id, uint64_t *end_r)
{
    char footer[FOOTER_SIZE], block[FILTER_BLOCK];
    struct stat st;
    uint64_t end;

    *end_r = UINT64_MAX;
    if (fstat(fd, &st) != 0 || st.st_size < (off_t)(HEAD_SIZE + FILTER_SIZE + FOOTER_SIZE))
        return true;
    if (pread(fd, footer, sizeof(footer), st.st_size - FOOTER_SIZE) != FOOTER_SIZE ||
        footer_read(footer, &end) < 0 ||
        end + FILTER_SIZE + FOOTER_SIZE != (uint64_t)st.st_size)
        return true;
    *end_r = end;
    if (pread(fd, block, sizeof(block), (off_t)(end + filter_block_of(id) * FILTER_BLOCK)) !=
        sizeof(block))
        return true;
    return filter_may_have(block, id);
}

/* Whole records of s; how many octets they take. */
static size_t look(struct scan *sc, barid_slice s)
{
    const char *start = s.p;
    struct history_entry e;

    for (size_t n; !sc->enough && (n = entry_length(s, true)) > 0; s = slice_from(s, n))
        if (entry_id(s.p) == sc->id && entry_decode(slice_head(s, n), &e) == 0)
            sc->enough = !sc->each(sc->user, &e);
    return (size_t)(s.p - start);
}

static void read_file(struct scan *sc, int fd)
{
    uint64_t at = HEAD_SIZE, end;
    size_t have = 0, used;
    char magic[HEAD_SIZE];
    ssize_t n;

    if (pread(fd, magic, HEAD_SIZE, 0) != HEAD_SIZE ||
        memcmp(magic, FILE_MAGIC, HEAD_SIZE) != 0 || !may_have(fd, sc->id, &end))
        return;
    while (!sc->enough && at < end) {
        size_t want = READ_BUFFER - have < end - at ? READ_BUFFER - have : (size_t)(end - at);

        n = pread(fd, sc->buffer + have, want, (off_t)at);
        if (n <= 0)
            return;
        at += (size_t)n;
        have += (size_t)n;
        used = look(sc, slice_of(sc->buffer, have));
        have -= used;
        memmove(sc->buffer, sc->buffer + used, have);
        if (have >=
            ENTRY_MAX) /* no record is as long: here one is damaged, and what follows cannot be found */
            return;
    }
}

static int read_files(struct scan *sc, int dir_fd, const barid_mem *mem)
{
    struct history_file *files;
    char name[FILE_NAME_SIZE];
    size_t n;
    int rc = folder_list(dir_fd, mem, &files, &n);

    for (size_t i = 0; i < n && !sc->enough; i++) {
        int fd;

        file_name(files[i], name);
        fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT) /* its time came meanwhile */
            continue;
        if (fd < 0) {
            rc = BARID_EIO;
            break;
        }
        read_file(sc, fd);
        close(fd);
    }
    mem_free(mem, files);
    return rc;
}

int history_read_dir(const char *dir, const barid_mem *mem, uint64_t id,
                     bool (*each)(void *user, const struct history_entry *e), void *user)
{
    struct scan sc = {.id = id, .each = each, .user = user};
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

    if (dir_fd < 0)
        return BARID_EIO;
    sc.buffer = mem_alloc(mem, READ_BUFFER);
    rc = sc.buffer != NULL ? read_files(&sc, dir_fd, mem) : BARID_ENOMEM;
    mem_free(mem, sc.buffer);
    close(dir_fd);
    return rc;
}
