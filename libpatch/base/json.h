/*
 * A strict pull parser for JSON headers of any size: it reads through a window, never holds the
 * document, and allocates one string buffer.  Refused: duplicate keys are the caller's to find, but
 * bad UTF-8, control characters, lone surrogates, leading zeros, trailing bytes and nesting deeper
 * than `max_depth` are refused here.  (Small documents that we write ourselves go through jansson.)
 */
#ifndef FMP_BASE_JSON_H
#define FMP_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "fmpatch.h"

typedef enum fmp_json_kind {
    FMP_JSON_END, /* of the document */
    FMP_JSON_OBJECT_BEGIN,
    FMP_JSON_OBJECT_END,
    FMP_JSON_ARRAY_BEGIN,
    FMP_JSON_ARRAY_END,
    FMP_JSON_KEY,    /* text */
    FMP_JSON_STRING, /* text */
    FMP_JSON_UINT,   /* uint: digits only, below 2^64 */
    FMP_JSON_NUMBER, /* any other number; text is as written */
    FMP_JSON_TRUE,
    FMP_JSON_FALSE,
    FMP_JSON_NULL
} fmp_json_kind;

/* Gives bytes [off, off + len) of the document. */
typedef fmp_status (*fmp_json_read_fn)(void *ctx, uint64_t off, void *buf, size_t len,
                                       fmp_error *err);

typedef struct fmp_json {
    fmp_json_read_fn read;
    void *ctx;
    const char *path;  /* for messages */
    uint64_t file_off; /* of the document in its file, for messages */
    uint64_t len;
    uint64_t at; /* offset in the document of the next byte */
    unsigned max_depth;
    /* the current token */
    fmp_json_kind kind;
    fmp_buf text; /* decoded, NUL-terminated beyond text.len */
    uint64_t uint;
    uint64_t token_at; /* offset in the document where it begins */
    /* private */
    uint8_t *window;
    size_t win_len;
    uint64_t win_off;
    unsigned depth;
    uint8_t stack[64]; /* '{' or '[' */
    uint8_t state;
} fmp_json;

fmp_status fmp_json_init(fmp_json *j, fmp_json_read_fn read, void *ctx, uint64_t len,
                         const char *path, uint64_t file_off, unsigned max_depth, fmp_error *err);
void fmp_json_release(fmp_json *j);
/* The next token into j->kind and its fields. */
fmp_status fmp_json_next(fmp_json *j, fmp_error *err);
/* The next token must be of `kind`; `what` names it in the error ("a shape"). */
fmp_status fmp_json_expect(fmp_json *j, fmp_json_kind kind, const char *what, fmp_error *err);
/* Skips the value that begins with the current token (which is not a key). */
fmp_status fmp_json_skip(fmp_json *j, fmp_error *err);

/* Appends a JSON string with quotes, escaping only what JSON demands ('"', '\\', below 0x20), as
 * Python's json.dumps(ensure_ascii=False) and serde_json do. */
void fmp_json_put_string(fmp_buf *b, const char *s, size_t len);

#endif
