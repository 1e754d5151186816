/*
 * Data files: pread of a regular file, or of the content of a gzip file in memory.
 */
#include "data/datafile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zlib.h>

#include "core/fail.h"
#include "core/mem.h"

#define CHUNK ((size_t)1 << 16)

/* Deflate makes at most 1032 bytes of one (zlib's technical notes): a bound on what to believe. */
#define MOST_FOR_A_BYTE 1032

static fmp_status read_stored(const fish_datafile *f, uint64_t off, void *buf, size_t len,
                              fmp_error *err)
{
    char *p = buf;

    while (len) {
        const ssize_t n = pread(f->fd, p, len, (off_t)off);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fish_fail_errno(err, errno, "%s: cannot read", f->path);
        if (!n)
            return fish_fail(err, FMP_EIO,
                             "%s: ends at byte %llu: it was longer when it was opened", f->path,
                             (unsigned long long)off);
        p += n;
        off += (uint64_t)n;
        len -= (size_t)n;
    }
    return FMP_OK;
}

static void *zlib_alloc(void *ctx, unsigned n, unsigned size)
{
    (void)ctx;
    return fish_calloc(n, size);
}

static void zlib_free(void *ctx, void *p)
{
    (void)ctx;
    fish_free(p);
}

/* Feeds the file to `z` chunk by chunk; the output has its exact size. */
static fmp_status inflate_all(const fish_datafile *f, z_stream *z, unsigned char *chunk,
                              uint64_t size, fmp_error *err)
{
    int r = Z_OK;

    for (uint64_t off = 0; off < f->stored && r == Z_OK;) {
        const size_t n = f->stored - off < CHUNK ? (size_t)(f->stored - off) : CHUNK;
        const fmp_status st = read_stored(f, off, chunk, n, err);

        if (st)
            return st;
        off += n;
        z->next_in = chunk;
        z->avail_in = (unsigned)n;
        r = inflate(z, Z_NO_FLUSH);
        if ((r == Z_OK && z->avail_in) || (r == Z_STREAM_END && (z->avail_in || off < f->stored)))
            return fish_fail(err, FMP_ECORRUPT,
                             "%s: expected one gzip member of %llu bytes, found more", f->path,
                             (unsigned long long)size);
    }
    if (r == Z_MEM_ERROR)
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", f->path);
    if (r != Z_STREAM_END) /* zlib has then held length and CRC against the trailer */
        return fish_fail(err, FMP_ECORRUPT, "%s: not a whole gzip file: %s", f->path,
                         z->msg ? z->msg : "it ends too early");
    return FMP_OK;
}

/* The last four bytes of a gzip file are the size of its content modulo 2^32 (RFC 1952, 2.3.1). */
static fmp_status unzip_file(fish_datafile *f, fmp_error *err)
{
    z_stream z = {.zalloc = zlib_alloc, .zfree = zlib_free};
    unsigned char tail[4];
    unsigned char *content = NULL;
    unsigned char *chunk = NULL;
    uint32_t size;
    fmp_status st = read_stored(f, f->stored - sizeof tail, tail, sizeof tail, err);

    if (st)
        return st;
    size = (uint32_t)tail[0] | (uint32_t)tail[1] << 8 | (uint32_t)tail[2] << 16 |
           (uint32_t)tail[3] << 24;
    if (size / MOST_FOR_A_BYTE > f->stored)
        return fish_fail(err, FMP_ECORRUPT, "%s: %llu bytes of gzip cannot hold the %lu it claims",
                         f->path, (unsigned long long)f->stored, (unsigned long)size);
    content = fish_alloc(size, 1);
    chunk = fish_alloc(CHUNK, 1);
    if (!content || !chunk || inflateInit2(&z, 15 + 16) != Z_OK) { /* 16: gzip, not zlib */
        st = fish_fail(err, FMP_ENOMEM, "%s: out of memory", f->path);
        goto out;
    }
    z.next_out = content;
    z.avail_out = size;
    st = inflate_all(f, &z, chunk, size, err);
    if (st)
        goto out;
    f->inflated = content;
    f->size = size;
    content = NULL;

out:
    (void)inflateEnd(&z);
    fish_free(content);
    fish_free(chunk);
    return st;
}

fmp_status fish_datafile_open(const char *path, bool unzip, fish_datafile *ret, fmp_error *err)
{
    fish_datafile f = {.path = fish_strdup(path)};
    unsigned char magic[2] = {0};
    struct stat s;
    fmp_status st = FMP_OK;

    if (!f.path)
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", path);
    f.name = strrchr(f.path, '/') ? strrchr(f.path, '/') + 1 : f.path;
    f.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not make us wait */
    f.open = f.fd >= 0;
    if (!f.open || fstat(f.fd, &s)) {
        st = fish_fail_errno(err, errno, "%s: cannot open", path);
        goto fail;
    }
    if (!S_ISREG(s.st_mode)) {
        st = fish_fail(err, FMP_EUSAGE, "%s: expected a regular file", path);
        goto fail;
    }
    f.stored = f.size = (uint64_t)s.st_size;
    if (unzip && f.size >= 18) { /* header and trailer of gzip */
        st = read_stored(&f, 0, magic, sizeof magic, err);
        if (!st && magic[0] == 0x1f && magic[1] == 0x8b)
            st = unzip_file(&f, err);
        if (st)
            goto fail;
    }
    *ret = f;
    return FMP_OK;

fail:
    fish_datafile_release(&f);
    return st;
}

void fish_datafile_release(fish_datafile *f)
{
    if (f->open)
        (void)close(f->fd);
    fish_free(f->path);
    fish_free(f->inflated);
    *f = (fish_datafile){0};
}

fmp_status fish_datafile_read(const fish_datafile *f, uint64_t off, void *buf, size_t len,
                              fmp_error *err)
{
    if (!f->inflated)
        return read_stored(f, off, buf, len, err);
    if (off > f->size || len > f->size - off)
        return fish_fail(err, FMP_EIO, "%s: no bytes behind %llu", f->path,
                         (unsigned long long)f->size);
    if (len)
        memcpy(buf, f->inflated + off, len);
    return FMP_OK;
}

fmp_status fish_datafile_digest(const fish_datafile *f, crypto_generichash_state *state,
                                fmp_error *err)
{
    unsigned char *chunk = fish_alloc(CHUNK, 1);
    fmp_status st = FMP_OK;

    if (!chunk)
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", f->path);
    for (uint64_t off = 0; off < f->stored && !st; off += CHUNK) {
        const size_t n = f->stored - off < CHUNK ? (size_t)(f->stored - off) : CHUNK;

        st = read_stored(f, off, chunk, n, err);
        if (!st)
            crypto_generichash_update(state, chunk, n);
    }
    fish_free(chunk);
    return st;
}
