/* history/folder.c: the names of the files, and which of them are kept. */
#include "history/history_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

void file_name(struct history_file f, char out[FILE_NAME_SIZE])
{
    snprintf(out, FILE_NAME_SIZE, "%010u-%08u.history", f.number, f.day);
}

uint32_t file_day(int64_t wall_us)
{
    time_t t = (time_t)(wall_us / 1000000);
    struct tm tm;

    if (gmtime_r(&t, &tm) == NULL)
        return 0;
    return (uint32_t)((tm.tm_year + 1900) * 10000 + (tm.tm_mon + 1) * 100 + tm.tm_mday);
}

static bool parse_name(const char *name, struct history_file *f)
{
    char again[FILE_NAME_SIZE];

    if (sscanf(name, "%10u-%8u.history", &f->number, &f->day) != 2)
        return false;
    file_name(*f, again);
    return strcmp(name, again) == 0; /* nothing but ours is touched */
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = ((const struct history_file *)a)->number,
             y = ((const struct history_file *)b)->number;

    return (x > y) - (x < y);
}

static int collect(DIR *d, const barid_mem *mem, struct history_file **files, size_t *n)
{
    size_t cap = 0;
    struct dirent *entry;
    struct history_file f;

    while ((entry = readdir(d)) != NULL) {
        if (!parse_name(entry->d_name, &f))
            continue;
        if (*n == cap) {
            struct history_file *more =
                mem_realloc(mem, *files, (cap = cap == 0 ? 64 : cap * 2) * sizeof(f));

            if (more == NULL)
                return BARID_ENOMEM;
            *files = more;
        }
        (*files)[(*n)++] = f;
    }
    return 0;
}

int folder_list(int dir_fd, const barid_mem *mem, struct history_file **files_r, size_t *n_r)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;

    *files_r = NULL;
    *n_r = 0;
    if (d == NULL) {
        rc = errno == ENOMEM ? BARID_ENOMEM : BARID_EIO;
        if (fd >= 0)
            close(fd);
        return rc;
    }
    rc = collect(d, mem, files_r, n_r);
    closedir(d);
    if (rc < 0) {
        mem_free(mem, *files_r);
        *files_r = NULL;
        *n_r = 0;
        return rc;
    }
    if (*n_r > 1)
        qsort(*files_r, *n_r, sizeof(**files_r), by_number);
    return 0;
}

int folder_clean(int dir_fd, const barid_mem *mem, uint32_t oldest, uint32_t *next_r)
{
    struct history_file *files;
    char name[FILE_NAME_SIZE];
    size_t n;
    int rc = folder_list(dir_fd, mem, &files, &n);

    if (rc < 0)
        return rc;
    *next_r = n > 0 ? files[n - 1].number + 1 : 1;
    for (size_t i = 0; i < n; i++) {
        if (files[i].day >= oldest && n - i <= HISTORY_FILES_MAX)
            continue;
        file_name(files[i], name);
        unlinkat(dir_fd, name,
                 0); /* what cannot be removed now is tried again with the next file */
    }
    mem_free(mem, files);
    return 0;
}
