/*
 * policy/class_part.c: the MIME tree of a mail: part objects over message/mime.h.
 *
 * The tree and the message it was made from live in C memory behind one userdata, which every
 * part keeps alive; so parts stay readable after the hook, until Lua collects them. They show
 * the mail as it was when mail:mime() was called.
 */
#include "base/mem.h"
#include "base/slice.h"
#include "message/mime.h"
#include "policy/class_mail.h"
#include "policy/engine.h"

/* --- the tree -------------------------------------------------------------------------------
 */

struct tree {
    struct mime *mime;
    struct buf text;
};

static int tree_gc(lua_State *L)
{
    struct tree *t = lua_touserdata(L, 1);

    mime_del(&t->mime);
    buf_deinit(&t->text);
    return 0;
}

static struct tree *push_tree(lua_State *L)
{
    struct tree *t = lua_newuserdatauv(L, sizeof(*t), 0);

    memset(t, 0, sizeof(*t));
    buf_init(&t->text, engine_of(L)->script.mem, MIME_SIZE_MAX);
    lua_getfield(L, LUA_REGISTRYINDEX, "barid.mime");
    lua_setmetatable(L, -2);
    return t;
}

/* Header as it is now, blank line, body. */
static int gather(const struct mail *m, struct buf *out)
{
    uint64_t size = m->body.size(m->body.user), at = 0;
    int64_t n = 0;
    int rc = header_write(&m->header, out);

    if (rc == 0)
        rc = buf_str(out, "\r\n");
    if (rc == 0 && size > MIME_SIZE_MAX)
        rc = BARID_ELIMIT;
    if (rc == 0)
        rc = buf_reserve(out, (size_t)size);
    for (; rc == 0 && at < size; at += (uint64_t)n) {
        n = m->body.read(m->body.user, at, out->p + out->len, (size_t)(size - at));
        if (n < 0)
            rc = (int)n;
        if (n <= 0)
            break;
        out->len += (size_t)n;
    }
    return rc;
}

/* The part over the tree at index. */
static void push_part(lua_State *L, const struct mime_part *p, int tree)
{
    struct object *o = object_new(L, CLASS_PART, sizeof(*o), 1);

    o->p = (void *)p;
    lua_pushvalue(L, tree);
    lua_setiuservalue(L, -2, 1);
}

/*** @method mail:mime()
 * The mail as a tree of MIME parts; made once per mail. From `on.message` on. At most 64 MiB,
 * 2,000,000 lines, 1000 parts, 50 deep; more is an error, which `pcall` catches: the mail itself
 * may be larger.
 * @return {part} the root
 */
int mail_mime(lua_State *L)
{
    struct mail *m = mail_check(L, 1);
    struct err err = {0};
    struct tree *t;
    int rc;

    if (m->body.read == NULL)
        return luaL_error(L, "mail:mime: the body is not in yet, ask from on.message on");
    lua_settop(L, 1);
    if (lua_getiuservalue(L, 1, 1) != LUA_TNIL)
        return 1;
    t = push_tree(L);
    rc = gather(m, &t->text);
    if (rc < 0)
        return luaL_error(L, "mail:mime: %s",
                          rc == BARID_ELIMIT ? "the mail is larger than 64 MiB"
                                             : barid_strerror(rc));
    /* Parsing costs some 10 ns an octet, which no instruction count sees. */
    budget_charge(L, t->text.len / 8);
    if (mime_parse(&t->mime, buf_slice(&t->text), &err) < 0)
        return luaL_error(L, "mail:mime: %s", err.text);
    push_part(L, mime_root(t->mime), 3);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, 1);
    return 1;
}

/* --- parts ----------------------------------------------------------------------------------
 */

static const struct mime_part *part_of(const struct object *o)
{
    return o->p;
}

static int push_optional(lua_State *L, barid_slice s)
{
    if (s.n > 0)
        script_push(L, s);
    else
        lua_pushnil(L);
    return 1;
}

static int get_type(lua_State *L, struct object *o)
{
    return push_optional(L, mime_type(part_of(o)));
}
static int get_charset(lua_State *L, struct object *o)
{
    return push_optional(L, mime_charset(part_of(o)));
}
static int get_file_name(lua_State *L, struct object *o)
{
    return push_optional(L, mime_file_name(part_of(o)));
}
static int get_disposition(lua_State *L, struct object *o)
{
    return push_optional(L, mime_disposition(part_of(o)));
}
static int get_encoding(lua_State *L, struct object *o)
{
    return push_optional(L, mime_encoding(part_of(o)));
}
static int get_content_id(lua_State *L, struct object *o)
{
    return push_optional(L, mime_content_id(part_of(o)));
}

static int get_parts(lua_State *L, struct object *o)
{
    const struct mime_part *p = part_of(o);
    size_t n = mime_children(p);

    lua_getiuservalue(L, 1, 1);
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        push_part(L, mime_child(p, i), lua_gettop(L) - 1);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/*** @method part:header(name)
 * The first header field of that name, decoded (RFC 2047), or nil.
 * @param {string} name
 * @return {string}
 */
static int header(lua_State *L)
{
    struct object *o = object_check(L, 1, &part_class);

    return push_optional(L, mime_header_get(part_of(o), script_check_slice(L, 2)));
}

/*** @method part:headers()
 * All header fields, decoded, in order.
 * @return {list} of { name = ..., value = ... }
 */
static int headers(lua_State *L)
{
    struct object *o = object_check(L, 1, &part_class);
    size_t n = mime_header_count(part_of(o));

    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        barid_slice name, value;
        mime_header(part_of(o), i, &name, &value);
        lua_createtable(L, 0, 2);
        script_push(L, name);
        lua_setfield(L, -2, "name");
        script_push(L, value);
        lua_setfield(L, -2, "value");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/*** @method part:get_data([raw])
 * The content with its transfer encoding undone; text is converted to UTF-8 unless `raw` is
 * true.
 * @param {boolean} raw
 * @return {string}
 */
static int get_data(lua_State *L)
{
    struct object *o = object_check(L, 1, &part_class);
    barid_slice data;

    check_rc(L, mime_data(part_of(o), !lua_toboolean(L, 2), &data), "part:get_data");
    budget_charge(L, data.n / 32);
    script_push(L, data);
    return 1;
}

/*** @class part
 * A part of a MIME tree.
 * @field {string} type such as "text/plain", lower case
 * @field {string} charset nil when not given
 * @field {string} file_name decoded, nil when not given
 * @field {string} disposition "attachment", "inline" or nil
 * @field {string} encoding transfer encoding, nil when not given
 * @field {string} content_id
 * @field {list} parts of a multipart or an embedded message
 */
static const struct field fields[] = {{"type", .get = get_type},
                                      {"charset", .get = get_charset},
                                      {"file_name", .get = get_file_name},
                                      {"disposition", .get = get_disposition},
                                      {"encoding", .get = get_encoding},
                                      {"content_id", .get = get_content_id},
                                      {"parts", .get = get_parts},
                                      {"header", .method = header},
                                      {"headers", .method = headers},
                                      {"get_data", .method = get_data},
                                      {NULL}};
const struct class part_class = {.name = "part", .id = CLASS_PART, .fields = fields};

void mime_open(lua_State *L)
{
    class_open(L, &part_class);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, tree_gc);
    lua_setfield(L, -2, "__gc");
    lua_setfield(L, LUA_REGISTRYINDEX, "barid.mime");
}
