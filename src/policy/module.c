/*
 * policy/module.c: require "name": a text file beneath the configuration's folder, evaluated
 * once with the same globals.
 *
 * While the file is checked, modules are read from disk (openat2 with RESOLVE_BENEATH, so that
 * no name climbs out) and kept in the config; workers find them there and never touch the disk.
 */
#include "policy/module.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/slice.h"
#include "policy/declare.h"
#include "policy/script.h"

#define READ_STEP 65536

static int read_fd(int fd, const char *file, struct buf *out, struct err *err)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return err_errno(err, BARID_EIO, errno, "%s: cannot read", file);
    if (!S_ISREG(st.st_mode))
        return err_set(err, BARID_EIO, "%s: not a regular file", file);
    for (;;) {
        ssize_t n;
        int rc = buf_reserve(out, READ_STEP);
        if (rc < 0)
            return err_set(err, rc, "%s: %s", file,
                           rc == BARID_ELIMIT ? "the file is too long" : "out of memory");
        n = read(fd, out->p + out->len, READ_STEP);
        if (n < 0 && errno != EINTR)
            return err_errno(err, BARID_EIO, errno, "%s: cannot read", file);
        if (n == 0)
            return 0;
        if (n > 0)
            out->len += (size_t)n;
    }
}

int module_read(const char *file, struct buf *out, struct err *err)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc;

    if (fd < 0)
        return err_errno(err, errno == ENOENT ? BARID_ENOTFOUND : BARID_EIO, errno,
                         "%s: cannot read", file);
    rc = read_fd(fd, file, out, err);
    close(fd);
    return rc;
}

static int open_beneath(const char *dir, const char *file)
{
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                           .resolve = RESOLVE_BENEATH};
    int base = open(dir[0] != '\0' ? dir : "/", O_PATH | O_DIRECTORY | O_CLOEXEC), fd;

    if (base < 0)
        return -1;
    fd = (int)syscall(SYS_openat2, base, file, &how, sizeof(how));
    close(base);
    return fd;
}

/* "checks.spam" -> "checks/spam.lua". */
static const char *file_name(lua_State *L, const char *name)
{
    char file[300];
    size_t n = strlen(name);

    if (n == 0 || n > 250 ||
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") != n)
        luaL_error(L,
                   "require: '%s' is not a module name: letters, digits, '_', '-', and '.' "
                   "between folders",
                   name);
    for (size_t i = 0; i <= n; i++)
        file[i] = name[i] == '.' ? '/' : name[i];
    memcpy(file + n, ".lua", 5);
    lua_pushstring(L, file);
    return lua_tostring(L, -1);
}

static const struct config_module *find(const struct config *c, const char *name)
{
    for (size_t i = 0; c != NULL && i < c->n_modules; i++) {
        if (strcmp(c->modules[i].name, name) == 0)
            return &c->modules[i];
    }
    return NULL;
}

/* Reads and keeps. NULL = *err. */
static const struct config_module *read_module(struct declare *d, const char *name,
                                               const char *file, struct err *err)
{
    struct config *c = d->config;
    struct config_module *v, *m;
    struct buf text;
    int fd, rc;

    if (c->n_modules >= MODULES_MAX) {
        err_set(err, BARID_ELIMIT, "more than %d modules", MODULES_MAX);
        return NULL;
    }
    fd = open_beneath(d->dir, file);
    if (fd < 0) {
        err_errno(err, BARID_ENOTFOUND, errno, "cannot read %s beneath %s", file, d->dir);
        return NULL;
    }
    buf_init(&text, NULL, MODULE_TEXT_MAX);
    rc = read_fd(fd, file, &text, err);
    close(fd);
    v = rc == 0 ? declare_alloc(d, (c->n_modules + 1) * sizeof(*v)) : NULL;
    if (v != NULL) {
        if (c->n_modules > 0)
            memcpy(v, c->modules, c->n_modules * sizeof(*v));
        m = &v[c->n_modules];
        m->name = arena_strdup(&c->arena, slice_str(name));
        m->file = arena_strdup(&c->arena, slice_str(file));
        rc = arena_slice(&c->arena, buf_slice(&text), &m->text);
        if (m->name == NULL || m->file == NULL || rc < 0)
            v = NULL;
    }
    buf_deinit(&text);
    if (v == NULL) {
        if (err->code == 0)
            err_set(err, BARID_ENOMEM, "out of memory");
        return NULL;
    }
    c->modules = v;
    return &c->modules[c->n_modules++];
}

/*** @function require(name)
 * Evaluates the file `name.lua` of the configuration's folder (dots are folders) once and
 * returns what it returned. Only while the configuration is loaded.
 * @param {string} name
 */
static int require(lua_State *L)
{
    struct script *s = script_of(L);
    const char *name = luaL_checkstring(L, 1), *file;
    const struct config_module *m;
    struct err err = {0};
    char chunk[310];

    if (!s->loading)
        return luaL_error(L, "require belongs at the top of the file, not into a hook");
    lua_settop(L, 1);
    lua_getfield(L, lua_upvalueindex(1), name);
    if (!lua_isnil(L, -1))
        return 1;
    file = file_name(L, name);
    m = find(s->config, name);
    if (m == NULL && s->declare != NULL)
        m = read_module(s->declare, name, file, &err);
    if (m == NULL)
        return luaL_error(L, "require '%s': %s", name,
                          err.code != 0 ? err.text : "was not there when the file was checked");
    snprintf(chunk, sizeof(chunk), "@%s", m->file);
    if (luaL_loadbufferx(L, m->text.n > 0 ? m->text.p : "", m->text.n, chunk, "t") != LUA_OK)
        return lua_error(L);
    lua_getfield(L, LUA_REGISTRYINDEX, "barid.env");
    lua_setupvalue(L, -2, 1);
    lua_pushboolean(L, 1); /* a circle of requires ends here */
    lua_setfield(L, lua_upvalueindex(1), name);
    lua_call(L, 0, 1);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushboolean(L, 1);
    }
    lua_pushvalue(L, -1);
    lua_setfield(L, lua_upvalueindex(1), name);
    return 1;
}

void module_open(lua_State *L)
{
    lua_newtable(L);
    lua_pushcclosure(L, require, 1);
    lua_setfield(L, -2, "require");
}
