/*
 * Signing, re-signing and stripping a patch file: its signature section is made anew, every other
 * byte is copied.  The file is replaced by rename.
 */
#include "base/alloc.h"
#include "base/status.h"
#include "container/sections.h"
#include "crypto/sigblock.h"

#define PIECE ((size_t)1 << 20)

static fmp_status copy_body(const fmp_file *from, uint64_t from_off, fmp_out *to, uint64_t to_off,
                            uint64_t len, fmp_error *err)
{
    uint8_t *piece = fmp_malloc(PIECE);
    fmp_status st = FMP_OK;

    if (!piece)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", from->path);
    for (uint64_t at = 0; at < len && !st; at += PIECE) {
        const size_t n = len - at < PIECE ? (size_t)(len - at) : PIECE;

        st = fmp_file_read(from, from_off + at, piece, n, err);
        if (!st)
            st = fmp_out_write(to, to_off + at, piece, n, err);
    }
    fmp_free(piece);
    return st;
}

/* Writes prefix, the new signature section, and the old body over the file. */
static fmp_status replace(const fmp_file *f, const char *path, const fmp_prefix *prefix,
                          uint64_t body, const fmp_buf *section, fmp_error *err)
{
    const uint64_t start = prefix->len + section->len;
    fmp_out out = {0};
    fmp_status st = fmp_out_open(&out, path, start + prefix->body_len, true, 0666, err);

    if (!st)
        st = fmp_out_write(&out, 0, prefix->bytes, prefix->len, err);
    if (!st)
        st = fmp_out_write(&out, prefix->len, section->data, section->len, err);
    if (!st)
        st = copy_body(f, body, &out, start, prefix->body_len, err);
    if (!st)
        st = fmp_file_unchanged(f, err);
    if (!st)
        st = fmp_out_commit(&out, true, err);
    fmp_out_discard(&out);
    return st;
}

static fmp_status resign(const char *path, bool keep, fmp_secret_key *const *keys, size_t n_keys,
                         const char *comment, fmp_error *err)
{
    fmp_file f = {0};
    fmp_prefix prefix;
    fmp_sigblock old = {0};
    fmp_buf section = {0}, made = {0};
    uint64_t body;
    fmp_status st = fmp_file_open(&f, path, err);

    if (!st)
        st = fmp_prefix_read(&f, &prefix, &section, &body, err);
    if (!st && keep)
        st = fmp_sigblock_parse(section.data, section.len, prefix.bytes, prefix.len, &old, err);
    if (!st)
        st = fmp_sigblock_sign(keep ? &old : NULL, prefix.bytes, prefix.len, keys, n_keys, comment,
                               &made, err);
    if (!st)
        st = replace(&f, path, &prefix, body, &made, err);
    fmp_buf_release(&section);
    fmp_buf_release(&made);
    fmp_sigblock_release(&old);
    fmp_file_close(&f);
    return st;
}

fmp_status fmp_sign_file(const char *path, fmp_secret_key *const *keys, size_t n_keys,
                         const char *comment, fmp_error *err)
{
    fmp_patch *check;
    fmp_status st = fmp_patch_open(path, NULL, &check, err); /* nobody signs a broken patch */

    if (st)
        return st;
    fmp_patch_close(check);
    return resign(path, true, keys, n_keys, comment, err);
}

fmp_status fmp_strip_file(const char *path, fmp_error *err)
{
    return resign(path, false, NULL, 0, NULL, err);
}
