/*
 * The frame table as bytes and back.  See table.h; FORMAT.md, "Frame table".
 */
#include "base/alloc.h"
#include "base/cursor.h"
#include "base/status.h"
#include "container/table.h"

#define MAX_STORED ((4u << 20) + 1024) /* of one frame; codec/frame.h says the same */

void fmp_frames_release(fmp_frames *f)
{
    fmp_free(f->entry);
    *f = (fmp_frames){0};
}

bool fmp_frames_add(fmp_frames *f, const fmp_frame_entry *e)
{
    if (f->n == f->cap) {
        const uint32_t cap = f->cap ? f->cap + f->cap / 2 : 16;
        fmp_frame_entry *entry = fmp_realloc(f->entry, cap, sizeof *entry);

        if (!entry)
            return false;
        f->entry = entry;
        f->cap = cap;
    }
    f->entry[f->n] = *e;
    f->entry[f->n++].payload_off = f->stored;
    f->stored += e->stored;
    return true;
}

void fmp_frames_write(const fmp_frames *f, fmp_buf *out)
{
    fmp_frame_entry before = {0};

    fmp_buf_put_varint(out, f->n);
    for (uint32_t i = 0; i < f->n; i++) {
        const fmp_frame_entry *e = &f->entry[i];

        if (e->domain != before.domain)
            before = (fmp_frame_entry){0};
        fmp_buf_put_le(out, e->domain, 1);
        fmp_buf_put_varint(out, e->first - before.last);
        fmp_buf_put_varint(out, e->first == before.last ? e->start - before.end : e->start);
        fmp_buf_put_varint(out, e->last - e->first);
        fmp_buf_put_varint(out, e->first == e->last ? e->end - e->start : e->end);
        fmp_buf_put_varint(out, e->stored);
        fmp_buf_put_varint(out, e->n_changed);
        before = *e;
    }
}

static bool parse_entry(fmp_cursor *c, const fmp_frame_entry *before, fmp_frame_entry *e)
{
    uint64_t first, last, stored;
    const bool same = before && before->domain == *c->at;

    e->domain = (uint8_t)fmp_cur_le(c, 1);
    if (e->domain >= FMP_DOMAIN_COUNT || (before && e->domain < before->domain))
        return false;
    first = fmp_cur_varint(c);
    if (first >= FMP_NONE || (same && first >= FMP_NONE - before->last))
        return false;
    first += same ? before->last : 0;
    e->start = fmp_cur_varint(c);
    if (e->start >> 62)
        return false;
    if (same && first == before->last)
        e->start += before->end;
    last = fmp_cur_varint(c);
    e->end = fmp_cur_varint(c);
    if (last >= FMP_NONE - first || e->end >> 62 || e->end == 0)
        return false;
    e->first = (uint32_t)first;
    e->last = (uint32_t)(first + last);
    if (last == 0)
        e->end += e->start;
    stored = fmp_cur_varint(c);
    e->n_changed = fmp_cur_varint(c);
    if (stored == 0 || stored > MAX_STORED || c->bad)
        return false;
    e->stored = (uint32_t)stored;
    return e->end >> 62 == 0;
}

fmp_status fmp_frames_parse(const fmp_buf *bytes, uint64_t n_digests, const char *path,
                            fmp_frames *ret, fmp_error *err)
{
    fmp_cursor c = fmp_cur(bytes->data, bytes->len);
    const uint64_t n = fmp_cur_varint(&c);
    fmp_frames f = {0};
    fmp_frame_entry e = {0};

    if (n != n_digests || !fmp_cur_fits(&c, n, 7))
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "%s: frame table: %llu frames, but %llu digests", path,
                        (unsigned long long)n, (unsigned long long)n_digests);
    for (uint64_t i = 0; i < n; i++) {
        if (!fmp_cur_left(&c) || !parse_entry(&c, i ? &f.entry[i - 1] : NULL, &e)) {
            fmp_frames_release(&f);
            return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                            "%s: frame table: frame %llu is not valid", path,
                            (unsigned long long)i);
        }
        if (!fmp_frames_add(&f, &e)) {
            fmp_frames_release(&f);
            return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", path);
        }
    }
    if (fmp_cur_left(&c)) {
        fmp_frames_release(&f);
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "%s: frame table: bytes after the last frame", path);
    }
    *ret = f;
    return FMP_OK;
}

static bool ends_before(const fmp_frame_entry *e, unsigned domain, uint64_t object, uint64_t off)
{
    if (e->domain != domain)
        return e->domain < domain;
    return e->last < object || (e->last == object && e->end <= off);
}

uint32_t fmp_frames_seek(const fmp_frames *f, unsigned domain, uint64_t object, uint64_t off)
{
    uint32_t low = 0;
    uint32_t high = f->n;

    while (low < high) {
        const uint32_t mid = low + (high - low) / 2;

        if (ends_before(&f->entry[mid], domain, object, off))
            low = mid + 1;
        else
            high = mid;
    }
    return low < f->n && f->entry[low].domain == domain ? low : f->n;
}
