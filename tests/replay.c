/*
 * tests/replay.c: runs a fuzz target on every file of a folder, without libFuzzer: its corpus as
 * a test. Each input lies in a heap block of exactly its size, so that a sanitizer or valgrind
 * sees a read past it. A file that fails aborts the program; its name was printed before.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

static void fail(const char *what)
{
    printf("Bail out! %s\n", what);
    exit(1);
}

static void replay(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    uint8_t *data;

    if (f == NULL || fstat(fileno(f), &st) < 0)
        fail("a file cannot be read");
    data = malloc(st.st_size > 0 ? (size_t)st.st_size : 1);
    if (data == NULL || fread(data, 1, (size_t)st.st_size, f) != (size_t)st.st_size)
        fail("a file cannot be read");
    fclose(f);
    LLVMFuzzerTestOneInput(data, (size_t)st.st_size);
    free(data);
}

static int is_input(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

int main(int argc, char **argv)
{
    struct dirent **list;
    char path[4096];
    int n;

    if (argc != 2)
        fail("usage: replay FOLDER");
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (LLVMFuzzerInitialize != NULL)
        LLVMFuzzerInitialize(&argc, &argv);
    n = scandir(argv[1], &list, is_input, alphasort);
    if (n <= 0)
        fail("no inputs: every fuzz target has a corpus");
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof(path), "%s/%s", argv[1], list[i]->d_name);
        printf("# %s\n", list[i]->d_name);
        replay(path);
        free(list[i]);
    }
    free(list);
    printf("1..1\nok 1 - %d inputs\n", n);
    return 0;
}
