/*
 * message/mime.h: the parsed MIME tree of a message (GMime behind it), made only when a policy asks for it.
 * Limits are checked by our own scanner before GMime sees the message.
 */
#ifndef MESSAGE_MIME_H
#define MESSAGE_MIME_H

#include "base/err.h"
#include "message/mail.h"

#define MIME_SIZE_MAX  (64u << 20) /* octets parsed as a tree: it is held in memory */
#define MIME_DEPTH_MAX 50
#define MIME_PARTS_MAX 1000
#define MIME_LINES_MAX 2000000 /* both parsers work by lines, some 60 ns for the shortest: a worker stands still for 0.1 s, not for 4;
                                  enough for MIME_SIZE_MAX in lines of 33 octets, and base64 has 78 */

struct mime;
struct mime_part;

/*
 * GMime keeps process-wide tables. Call once from main, before any thread: the only state of this module that is
 * not in an object, and the daemon's, not ours. mime_parse asserts that it was called. GLib ends the process when
 * it is out of memory: safe in the daemon, where what was accepted is already durable; an embedder must know it.
 */
void mime_library_init(void);

/* message: whole (header, blank line, body), stays borrowed while the tree lives. 0, BARID_ELIMIT, BARID_ESYNTAX, BARID_ENOMEM. */
int mime_parse(struct mime **m_r, barid_slice message, struct err *err);
/* The same with our share of the memory from mem (NULL = malloc); GMime's comes from GLib. */
int mime_parse_mem(struct mime **m_r, const barid_mem *mem, barid_slice message, struct err *err);
void mime_del(struct mime **m);
const struct mime_part *mime_root(const struct mime *m);

/*
 * Slices live as long as the tree; one tree, one thread at a time. All text is valid UTF-8: header values RFC 2047 decoded,
 * RFC 2231 parameters joined. Children: the parts of a multipart; the embedded message of a message/rfc822 (its root
 * part). A root part has the header fields of its message, in their order.
 */
barid_slice mime_type(const struct mime_part *p);       /* "text/plain", lower case */
barid_slice mime_charset(const struct mime_part *p);    /* empty = none */
barid_slice mime_file_name(const struct mime_part *p);  /* empty = none */
barid_slice mime_disposition(const struct mime_part *p);/* "attachment", "inline", empty */
barid_slice mime_encoding(const struct mime_part *p);   /* "base64", ... */
barid_slice mime_content_id(const struct mime_part *p);
size_t mime_children(const struct mime_part *p);
const struct mime_part *mime_child(const struct mime_part *p, size_t i);
size_t mime_header_count(const struct mime_part *p);
void mime_header(const struct mime_part *p, size_t i, barid_slice *name_r, barid_slice *value_r);
barid_slice mime_header_get(const struct mime_part *p, barid_slice name); /* first, decoded; empty = none */
#define MIME_TEXT_MAX (2u * MIME_SIZE_MAX) /* of one part in UTF-8: a one-octet charset may double or triple */
/* Transfer encoding undone; text parts converted to UTF-8 when as_utf8, with U+FFFD for what is not in their charset
 * (an unknown charset is read as UTF-8). A multipart has none; an embedded message is given whole. Cached.
 * 0, BARID_ENOMEM, BARID_ELIMIT. */
int mime_data(const struct mime_part *p, bool as_utf8, barid_slice *data_r);

#endif
