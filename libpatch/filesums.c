/*
 * SHA-256 of files by the way.  See filesums.h.
 */
#include "filesums.h"

#include "base/alloc.h"
#include "base/status.h"

#define PIECE ((size_t)1 << 20)

fmp_status fmp_filesums_begin(fmp_filesums *s, const fmp_store *store, fmp_error *err)
{
    const uint32_t n = fmp_store_weights(store);

    *s = (fmp_filesums){0};
    for (uint32_t i = 0; i < n; i++) {
        if (store->overlay || !store->files[i].in.open)
            return FMP_OK;
    }
    s->hex = fmp_calloc(n, sizeof *s->hex);
    s->piece = fmp_malloc(PIECE);
    if (!s->hex || !s->piece)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "SHA-256: out of memory");
    s->store = store;
    return FMP_OK;
}

void fmp_filesums_release(fmp_filesums *s)
{
    fmp_sha256_free(s->sha);
    fmp_free(s->hex);
    fmp_free(s->piece);
    *s = (fmp_filesums){0};
}

/* Up to byte `end` of the current file, by reading. */
static fmp_status read_up_to(fmp_filesums *s, uint64_t end, fmp_error *err)
{
    fmp_status st = s->sha ? FMP_OK : fmp_sha256_new(&s->sha, err);

    while (!st && s->at < end) {
        const size_t n = end - s->at < PIECE ? (size_t)(end - s->at) : PIECE;

        st = fmp_store_read_file(s->store, s->file, s->at, s->piece, n, err);
        if (!st)
            fmp_sha256_update(s->sha, s->piece, n);
        s->at += n;
    }
    return st;
}

/* The current file to its end, and on to the next one. */
static fmp_status end_file(fmp_filesums *s, fmp_error *err)
{
    fmp_status st = read_up_to(s, s->store->files[s->file].size, err);

    if (!st)
        st = fmp_sha256_final(s->sha, s->hex[s->file], err);
    fmp_sha256_free(s->sha);
    s->sha = NULL;
    s->at = 0;
    s->file++;
    return st;
}

fmp_status fmp_filesums_add(fmp_filesums *s, uint32_t tensor, uint64_t off, const uint8_t *data,
                            size_t len, fmp_error *err)
{
    const fmp_store_entry *t = s->store ? &s->store->tensors[tensor] : NULL;
    const uint64_t from = t ? t->off + off : 0;
    fmp_status st = FMP_OK;

    if (!t || t->file < s->file || (t->file == s->file && from + len <= s->at))
        return FMP_OK;
    while (!st && s->file < t->file)
        st = end_file(s, err);
    if (!st)
        st = read_up_to(s, from > s->at ? from : s->at, err);
    if (st)
        return st;
    fmp_sha256_update(s->sha, data + (s->at - from), len - (size_t)(s->at - from));
    s->at = from + len;
    return FMP_OK;
}

fmp_status fmp_filesums_end(fmp_filesums *s, fmp_error *err)
{
    fmp_status st = FMP_OK;

    while (!st && s->store && s->file < fmp_store_weights(s->store))
        st = end_file(s, err);
    return st;
}
