/*
 * What key and signature files have in common: lines, strict base64, and the question whether a
 * comment may be shown on a terminal.  Knows nothing of keys.
 */
#ifndef FMP_CRYPTO_TEXT_H
#define FMP_CRYPTO_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FMP_LINE_UNTRUSTED "untrusted comment: "
#define FMP_LINE_TRUSTED   "trusted comment: "

/* The rest of a text.  `bad` stays set once a line held a NUL, or a CR that no LF follows. */
typedef struct fmp_lines {
    const char *at;
    const char *end;
    bool bad;
} fmp_lines;

typedef struct fmp_line {
    const char *at;
    size_t len; /* without LF or CR LF */
} fmp_line;

/* False at the end of the text, or when it is bad.  The last line needs no LF. */
bool fmp_lines_next(fmp_lines *lines, fmp_line *ret);

/* Removes `prefix` from the line; false, and no change, when it begins otherwise. */
bool fmp_line_skip(fmp_line *line, const char *prefix);

/* Standard alphabet, padded, canonical, nothing else in the line, at most `cap` bytes. */
bool fmp_line_base64(const fmp_line *line, void *buf, size_t cap, size_t *ret_len);

/* Valid UTF-8 without C0, DEL and C1 controls (a tab is fine with `tab`) and without the controls
 * that change the direction of writing. */
bool fmp_text_is_plain(const char *text, size_t len, bool tab);

#endif
