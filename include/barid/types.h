/*
 * barid/types.h: what every other header of libbarid is made of: slices of bytes, error
 * codes, the allocator.
 *
 * No function of libbarid keeps hidden state: everything hangs off an object that the
 * caller made and frees. One object, one thread at a time; different objects are
 * independent.
 */
#ifndef BARID_TYPES_H
#define BARID_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define BARID_API __attribute__((visibility("default")))
#define BARID_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#else
#define BARID_API
#define BARID_PRINTF(fmt, first)
#endif

#define BARID_VERSION_MAJOR 0
#define BARID_VERSION_MINOR 1
#define BARID_VERSION_PATCH 0
#define BARID_VERSION_STRING "0.1.0"

/* The version of the library that is running, e.g. "0.1.0". Static text. */
BARID_API const char *barid_version(void);

/* Bytes that somebody else owns; not NUL-terminated. An empty slice may have p NULL. */
typedef struct barid_slice {
    const char *p; /* first byte, or NULL when n is 0 */
    size_t n;      /* bytes */
} barid_slice;

/* A slice of a string literal. */
#define BARID_S(lit) ((barid_slice){"" lit, sizeof(lit) - 1})

/* Error codes: every function that can fail returns 0 (or a count) or one of these. */
#define BARID_ERR_MAP(X)                                                                   \
    X(NOMEM, -1, "out of memory")                                                          \
    X(INVALID, -2, "invalid argument or state (a bug in the caller)")                      \
    X(SYNTAX, -3, "not in the grammar")                                                    \
    X(LIMIT, -4, "a named limit was reached")                                              \
    X(CLOSED, -5, "closed")                                                                \
    X(IO, -6, "input or output failed")                                                    \
    X(FULL, -7, "no room left")                                                            \
    X(NOTFOUND, -8, "no such thing")                                                       \
    X(EXISTS, -9, "exists already")                                                        \
    X(AGAIN, -10, "not now, try again")                                                    \
    X(CORRUPT, -11, "stored data is damaged")                                              \
    X(VERSION, -12, "written by a newer version")                                          \
    X(LOCKED, -13, "owned by another process")                                             \
    X(TIMEOUT, -14, "took too long")                                                       \
    X(UNSUPPORTED, -15, "not supported")

enum barid_err {
    BARID_OK = 0,
#define X(name, value, text) BARID_E##name = value,
    BARID_ERR_MAP(X)
#undef X
};

/* "out of memory" for BARID_ENOMEM, and so on; "unknown error" for others. Static text. */
BARID_API const char *barid_strerror(int err);

/*
 * The allocator that an object allocates everything from. All three may return NULL (an
 * error of class BARID_ENOMEM follows); the object stays valid and can be freed. realloc
 * follows realloc(3) with ptr possibly NULL; free accepts NULL. A NULL barid_mem pointer
 * anywhere means malloc(3) and company. The struct is borrowed and must outlive the object.
 */
typedef struct barid_mem {
    void *(*malloc)(size_t size, void *user);
    void *(*realloc)(void *ptr, size_t size, void *user);
    void (*free)(void *ptr, void *user);
    void *user;
} barid_mem;

#ifdef __cplusplus
}
#endif
#endif
