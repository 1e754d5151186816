/*
 * IDX headers, as the MNIST page describes them: two zero bytes, item type, rank, then the sizes as
 * big-endian 32-bit numbers, then the items.  Unsigned bytes only: larger items are big-endian, and
 * no data set in use has them.
 */
#include "core/fail.h"
#include "data/array_file.h"

fmp_status fish_idx_header(const fish_datafile *f, fish_array *ret, fmp_error *err)
{
    unsigned char head[4 + 4 * FISH_ARRAY_RANK_MAX];
    fish_array a = {.kind = 'u', .item = 1};
    fmp_status st;

    if (f->size < 4)
        return fish_fail(err, FMP_ECORRUPT, "%s: expected an IDX header, found %llu bytes", f->path,
                         (unsigned long long)f->size);
    st = fish_datafile_read(f, 0, head, 4, err);
    if (st)
        return st;
    if (head[0] || head[1])
        return fish_fail(err, FMP_ECORRUPT,
                         "%s: expected IDX, which begins with 00 00, found %02x %02x", f->path,
                         head[0], head[1]);
    if (head[2] != 0x08)
        return fish_fail(err, FMP_ENOTSUP, "%s: IDX item type 0x%02x; only 0x08, unsigned bytes",
                         f->path, head[2]);
    a.rank = head[3];
    if (!a.rank || a.rank > FISH_ARRAY_RANK_MAX)
        return fish_fail(err, FMP_ENOTSUP, "%s: IDX of rank %u, expected 1 to %u", f->path, a.rank,
                         FISH_ARRAY_RANK_MAX);
    a.off = 4 + 4 * (uint64_t)a.rank;
    if (f->size < a.off)
        return fish_fail(err, FMP_ECORRUPT, "%s: expected %u sizes, found the end", f->path,
                         a.rank);
    st = fish_datafile_read(f, 4, head + 4, 4 * (size_t)a.rank, err);
    if (st)
        return st;
    for (uint32_t i = 0; i < a.rank; i++) {
        const unsigned char *p = head + 4 + 4 * i;

        a.shape[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    }
    st = fish_array_check(f, &a, err);
    if (!st)
        *ret = a;
    return st;
}

fmp_status fish_array_check(const fish_datafile *f, fish_array *a, fmp_error *err)
{
    const uint64_t left = f->size - a->off;

    a->n_items = 1;
    for (uint32_t i = 0; i < a->rank; i++) {
        if (!a->shape[i])
            return fish_fail(err, FMP_ECORRUPT, "%s: size %u of the shape is 0", f->path, i);
        if (a->n_items > UINT64_MAX / a->shape[i])
            return fish_fail(err, FMP_ECORRUPT, "%s: a shape whose product takes more than 64 bits",
                             f->path);
        a->n_items *= a->shape[i];
    }
    if (a->n_items > left / a->item || a->n_items * a->item != left)
        return fish_fail(err, FMP_ECORRUPT,
                         "%s: expected %llu items of %u bytes, found %llu bytes of them", f->path,
                         (unsigned long long)a->n_items, a->item, (unsigned long long)left);
    return FMP_OK;
}
