/*
 * The outer shape of a patch file.  See sections.h.
 */
#include "container/sections.h"

#include <string.h>

#include "base/cursor.h"
#include "base/status.h"

static const uint8_t magic[8] = {0x89, 'F', 'M', 'P', 0x0d, 0x0a, 0x1a, 0x0a};

/*
 * What a section may decode to, a bound before allocation: 1 MiB, and 1024 times its stored size
 * or, for tables of tensors, 2 KiB for each digest (which are stored as they are).
 */
#define FREE_RAW       (1u << 20)
#define MAX_RATIO      1024u
#define MAX_PER_DIGEST 2048u

static bool raw_is_bounded(unsigned type, uint64_t raw, uint64_t stored, uint64_t digest_bytes)
{
    const bool table = type == FMP_SECTION_TENSORS || type == FMP_SECTION_LAYOUT;

    return raw <= FREE_RAW || (raw - FREE_RAW) / MAX_RATIO <= stored ||
           (table && (raw - FREE_RAW) / MAX_PER_DIGEST <= digest_bytes / FMP_DIGEST_LEN);
}

/* Above this, the strongest level takes more memory than it is worth. */
#define STRONG_MAX ((size_t)256 << 10)

static fmp_status bad(const fmp_file *f, uint64_t off, fmp_error *err, const char *what)
{
    return fmp_fail(err, FMP_ECORRUPT, off, "%s: %s", f->path, what);
}

static bool known(unsigned type)
{
    return type >= FMP_SECTION_MANIFEST && type <= FMP_SECTION_PAYLOAD;
}

static fmp_status parse_entry(const fmp_file *f, fmp_cursor *c, unsigned i, fmp_prefix *p,
                              uint64_t *at, fmp_error *err)
{
    fmp_section *s = &p->section[i];
    const uint64_t entry_off = FMP_PREFIX_HEAD + (uint64_t)i * FMP_SECTION_ENTRY;

    s->type = (uint16_t)fmp_cur_le(c, 2);
    s->flags = (uint16_t)fmp_cur_le(c, 2);
    s->coding = (uint32_t)fmp_cur_le(c, 4);
    s->off = fmp_cur_le(c, 8);
    s->stored = fmp_cur_le(c, 8);
    s->raw = fmp_cur_le(c, 8);
    memcpy(s->digest.b, fmp_cur_take(c, FMP_DIGEST_LEN), FMP_DIGEST_LEN);
    if (s->flags & ~(unsigned)FMP_SECTION_REQUIRED || s->coding > FMP_CODING_ZSTD)
        return bad(f, entry_off, err, "a section has unknown flags or coding");
    if (!known(s->type) && s->flags & FMP_SECTION_REQUIRED)
        return fmp_fail(err, FMP_ENOTSUP, entry_off,
                        "%s: needs a feature that this version does not know (section type %u)",
                        f->path, s->type);
    if (known(s->type) && !(s->flags & FMP_SECTION_REQUIRED))
        return bad(f, entry_off, err, "a section of version 1 is not marked as required");
    if (s->off != *at || s->stored > p->body_len - *at)
        return bad(f, entry_off, err, "sections leave a gap, overlap or pass the end");
    if (s->coding && (s->type == FMP_SECTION_DIGESTS || s->type == FMP_SECTION_FRAME_DIGESTS ||
                      s->type == FMP_SECTION_PAYLOAD))
        return bad(f, entry_off, err, "digests and payload are stored as they are");
    if (s->coding == FMP_CODING_STORED && s->raw != s->stored)
        return bad(f, entry_off, err, "a stored section has two lengths");
    for (unsigned k = 0; k < i; k++) {
        if (p->section[k].type == s->type)
            return bad(f, entry_off, err, "a section type stands twice");
    }
    *at += s->stored;
    return FMP_OK;
}

static fmp_status parse_entries(const fmp_file *f, fmp_prefix *p, fmp_error *err)
{
    fmp_cursor c = fmp_cur(p->bytes + FMP_PREFIX_HEAD, p->len - FMP_PREFIX_HEAD);
    uint64_t at = 0;

    for (unsigned i = 0; i < p->n_sections; i++) {
        const fmp_status st = parse_entry(f, &c, i, p, &at, err);

        if (st)
            return st;
    }
    if (at != p->body_len)
        return bad(f, 16, err, "sections do not fill the body");
    for (unsigned type = FMP_SECTION_MANIFEST; type <= FMP_SECTION_PAYLOAD; type++) {
        if (!fmp_prefix_find(p, type))
            return fmp_fail(err, FMP_ECORRUPT, FMP_PREFIX_HEAD, "%s: section type %u is missing",
                            f->path, type);
    }
    if (!fmp_digest_equal(&fmp_prefix_find(p, FMP_SECTION_PAYLOAD)->digest,
                          &fmp_prefix_find(p, FMP_SECTION_FRAME_DIGESTS)->digest))
        return bad(f, FMP_PREFIX_HEAD, err, "payload and frame digests do not belong together");
    return FMP_OK;
}

static fmp_status read_head(const fmp_file *f, fmp_prefix *p, fmp_error *err)
{
    fmp_cursor c;
    fmp_status st;

    if (f->size < FMP_PREFIX_HEAD)
        return fmp_fail(err, FMP_ECORRUPT, 0, "%s: not a patch: %llu bytes, at least %u expected",
                        f->path, (unsigned long long)f->size, FMP_PREFIX_HEAD);
    st = fmp_file_read(f, 0, p->bytes, FMP_PREFIX_HEAD, err);
    if (st)
        return st;
    if (memcmp(p->bytes, magic, sizeof magic) != 0)
        return bad(f, 0, err, "not a patch file (wrong first bytes)");
    c = fmp_cur(p->bytes + 8, FMP_PREFIX_HEAD - 8);
    p->version = (uint16_t)fmp_cur_le(&c, 2);
    p->n_sections = (uint32_t)fmp_cur_le(&c, 2);
    if (p->version != FMP_FORMAT_VERSION)
        return fmp_fail(err, FMP_ENOTSUP, 8, "%s: format version %u, this program reads %u",
                        f->path, p->version, FMP_FORMAT_VERSION);
    if (fmp_cur_le(&c, 4) != 0)
        return bad(f, 12, err, "reserved bits are set");
    p->body_len = fmp_cur_le(&c, 8);
    if (p->n_sections == 0 || p->n_sections > FMP_SECTIONS_MAX)
        return fmp_fail(err, FMP_ECORRUPT, 10, "%s: %u sections, 1 to %u expected", f->path,
                        p->n_sections, FMP_SECTIONS_MAX);
    p->len = FMP_PREFIX_HEAD + (size_t)p->n_sections * FMP_SECTION_ENTRY;
    return FMP_OK;
}

fmp_status fmp_prefix_read(const fmp_file *f, fmp_prefix *ret, fmp_buf *ret_signatures,
                           uint64_t *ret_body, fmp_error *err)
{
    uint8_t len_bytes[4];
    uint64_t left;
    size_t sig_len;
    uint8_t *sig;
    fmp_status st = read_head(f, ret, err);

    if (st)
        return st;
    left = f->size - FMP_PREFIX_HEAD;
    if (ret->len - FMP_PREFIX_HEAD + 4 > left)
        return bad(f, f->size, err, "the file is cut short");
    st = fmp_file_read(f, FMP_PREFIX_HEAD, ret->bytes + FMP_PREFIX_HEAD, ret->len - FMP_PREFIX_HEAD,
                       err);
    if (!st)
        st = parse_entries(f, ret, err);
    if (!st)
        st = fmp_file_read(f, ret->len, len_bytes, 4, err);
    if (st)
        return st;
    sig_len = 4 + (size_t)len_bytes[0] + ((size_t)len_bytes[1] << 8) +
              ((size_t)len_bytes[2] << 16) + ((size_t)len_bytes[3] << 24);
    left = f->size - ret->len;
    if (sig_len > FMP_SIGNATURES_MAX || sig_len > left || ret->body_len != left - sig_len)
        return fmp_fail(err, FMP_ECORRUPT, ret->len,
                        "%s: %llu bytes, %llu expected: cut short, or something follows", f->path,
                        (unsigned long long)f->size,
                        (unsigned long long)(ret->len + sig_len + ret->body_len));
    sig = fmp_buf_reserve(ret_signatures, sig_len);
    if (!sig)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", f->path);
    st = fmp_file_read(f, ret->len, sig, sig_len, err);
    if (st)
        return st;
    ret_signatures->len = sig_len;
    *ret_body = ret->len + sig_len;
    return FMP_OK;
}

void fmp_prefix_write(fmp_prefix *p)
{
    fmp_buf b = {0};

    fmp_buf_put(&b, magic, sizeof magic);
    fmp_buf_put_le(&b, p->version, 2);
    fmp_buf_put_le(&b, p->n_sections, 2);
    fmp_buf_put_le(&b, 0, 4);
    fmp_buf_put_le(&b, p->body_len, 8);
    for (unsigned i = 0; i < p->n_sections; i++) {
        const fmp_section *s = &p->section[i];

        fmp_buf_put_le(&b, s->type, 2);
        fmp_buf_put_le(&b, s->flags, 2);
        fmp_buf_put_le(&b, s->coding, 4);
        fmp_buf_put_le(&b, s->off, 8);
        fmp_buf_put_le(&b, s->stored, 8);
        fmp_buf_put_le(&b, s->raw, 8);
        fmp_buf_put(&b, s->digest.b, FMP_DIGEST_LEN);
    }
    p->len = b.len;
    if (!b.bad)
        memcpy(p->bytes, b.data, b.len);
    else
        p->len = 0; /* out of memory: the caller sees an empty prefix */
    fmp_buf_release(&b);
}

const fmp_section *fmp_prefix_find(const fmp_prefix *p, unsigned type)
{
    for (unsigned i = 0; i < p->n_sections; i++) {
        if (p->section[i].type == type)
            return &p->section[i];
    }
    return NULL;
}

static fmp_status check_section_size(const fmp_file *f, const fmp_prefix *p, const fmp_section *s,
                                     uint64_t max_raw, fmp_error *err)
{
    if (s->raw > max_raw)
        return fmp_fail(err, FMP_ELIMIT, FMP_NO_OFFSET,
                        "%s: section type %u has %llu bytes, the limit is %llu", f->path, s->type,
                        (unsigned long long)s->raw, (unsigned long long)max_raw);
    if (!raw_is_bounded(s->type, s->raw, s->stored,
                        fmp_prefix_find(p, FMP_SECTION_DIGESTS)->stored))
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "%s: section type %u: %llu bytes claim to hold %llu", f->path, s->type,
                        (unsigned long long)s->stored, (unsigned long long)s->raw);
    return FMP_OK;
}

fmp_status fmp_section_read(const fmp_file *f, uint64_t body, const fmp_prefix *p, unsigned type,
                            fmp_z *z, uint64_t max_raw, fmp_buf *out, fmp_error *err)
{
    const fmp_section *s = fmp_prefix_find(p, type);
    fmp_buf stored = {0};
    fmp_buf *first = s->coding == FMP_CODING_ZSTD ? &stored : out;
    fmp_digest found;
    uint8_t *at;
    fmp_status st = check_section_size(f, p, s, max_raw, err);

    if (st)
        return st;
    at = fmp_buf_reserve(first, (size_t)s->stored);
    if (!at)
        goto no_memory;
    st = fmp_file_read(f, body + s->off, at, (size_t)s->stored, err);
    if (st)
        goto out;
    first->len = (size_t)s->stored;
    found = fmp_digest_of(first->data, first->len);
    if (!fmp_digest_equal(&found, &s->digest)) {
        st = fmp_fail(err, FMP_ECORRUPT, body + s->off,
                      "%s: section type %u does not match its digest", f->path, s->type);
        goto out;
    }
    if (s->coding == FMP_CODING_ZSTD) {
        at = fmp_buf_reserve(out, (size_t)s->raw);
        if (!at)
            goto no_memory;
        st = fmp_z_decompress(z, stored.data, stored.len, at, (size_t)s->raw, err);
        if (!st)
            out->len = (size_t)s->raw;
    }
out:
    fmp_buf_release(&stored);
    return st;
no_memory:
    st = fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", f->path);
    goto out;
}

fmp_status fmp_section_code(unsigned type, const fmp_buf *raw, uint64_t n_digests, fmp_z *z,
                            fmp_section *ret, fmp_buf *stored, fmp_error *err)
{
    size_t len = raw->len;
    fmp_status st;

    *ret = (fmp_section){.type = (uint16_t)type, .flags = FMP_SECTION_REQUIRED, .raw = raw->len};
    fmp_buf_clear(stored);
    if (raw->len && type != FMP_SECTION_DIGESTS && type != FMP_SECTION_FRAME_DIGESTS) {
        st = fmp_z_compress(z, raw->len > STRONG_MAX ? 6 : 19, raw->data, raw->len, stored, &len,
                            err);
        if (st)
            return st;
        ret->coding = FMP_CODING_ZSTD;
    }
    if (!ret->coding || len >= raw->len || !raw_is_bounded(type, raw->len, len, n_digests)) {
        ret->coding = FMP_CODING_STORED;
        fmp_buf_clear(stored);
        fmp_buf_put(stored, raw->data, raw->len);
    }
    if (raw->bad || stored->bad)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "writing a section: out of memory");
    ret->stored = stored->len;
    ret->digest = fmp_digest_of(stored->data, stored->len);
    return FMP_OK;
}
