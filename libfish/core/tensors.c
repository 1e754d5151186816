/*
 * A safetensors file written tensor by tensor.  The header is made by jansson in the order
 * announced; data follows without gaps, the header padded with spaces to 8 bytes.
 */
#include "core/tensors.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/fail.h"
#include "core/jsontext.h"
#include "core/mem.h"

#define MAX_HEADER ((uint64_t)100 * 1000 * 1000)

struct fish_tensor_writer {
    fish_outfile *out;
    char *path;
    uint64_t to_come; /* bytes announced and not yet put */
};

static unsigned dtype_bytes(const char *dtype)
{
    static const struct {
        const char *name;
        unsigned bytes;
    } known[] = {{"F64", 8}, {"I64", 8}, {"U64", 8},  {"F32", 4}, {"I32", 4},
                 {"U32", 4}, {"F16", 2}, {"BF16", 2}, {"I16", 2}, {"U16", 2},
                 {"U8", 1},  {"I8", 1},  {"BOOL", 1}};

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (!strcmp(known[i].name, dtype))
            return known[i].bytes;
    }
    return 0;
}

static fmp_status describe(json_t *header, const fish_tensor_desc *d, uint64_t *at, fmp_error *err)
{
    const uint64_t begin = *at;
    uint64_t n_bytes = dtype_bytes(d->dtype);
    json_t *shape = json_array();
    json_t *entry;

    if (!n_bytes || d->rank > 8) {
        json_decref(shape);
        return fish_fail(err, FMP_EUSAGE, "tensor \"%s\": cannot write dtype %s of rank %u",
                         d->name, d->dtype, d->rank);
    }
    for (uint32_t i = 0; i < d->rank; i++) {
        if (__builtin_mul_overflow(n_bytes, d->shape[i], &n_bytes) || n_bytes > INT64_MAX / 2) {
            json_decref(shape);
            return fish_fail(err, FMP_EUSAGE, "tensor \"%s\": too large", d->name);
        }
        json_array_append_new(shape, json_integer((json_int_t)d->shape[i]));
    }
    *at += n_bytes;
    entry = json_pack("{s:s,s:o,s:[I,I]}", "dtype", d->dtype, "shape", shape, "data_offsets",
                      (json_int_t)begin, (json_int_t)*at);
    if (!entry || json_object_get(header, d->name) || json_object_set_new(header, d->name, entry))
        return fish_fail(err, FMP_EUSAGE, "tensor \"%s\": the name occurs twice or is not UTF-8",
                         d->name);
    return FMP_OK;
}

static fmp_status make_header(const char *const *meta, const fish_tensor_desc *descs, uint32_t n,
                              char **ret, uint64_t *ret_data, fmp_error *err)
{
    json_t *header = json_object();
    fmp_status st = header ? FMP_OK : fish_fail(err, FMP_ENOMEM, "safetensors: out of memory");

    *ret_data = 0;
    if (!st && meta && meta[0]) {
        json_t *m = json_object();

        for (size_t i = 0; meta[i]; i += 2)
            json_object_set_new(m, meta[i], json_string(meta[i + 1]));
        if (json_object_set_new(header, "__metadata__", m))
            st = fish_fail(err, FMP_ENOMEM, "safetensors: out of memory");
    }
    for (uint32_t i = 0; i < n && !st; i++)
        st = describe(header, &descs[i], ret_data, err);
    if (!st) {
        *ret = fish_json_dump(header, JSON_COMPACT);
        if (!*ret)
            st = fish_fail(err, FMP_ENOMEM, "safetensors: out of memory");
    }
    json_decref(header);
    return st;
}

static fmp_status put_header(fish_outfile *out, const char *text, fmp_error *err)
{
    const size_t len = strlen(text);
    const size_t padded = (len + 7) / 8 * 8;
    unsigned char size[8];
    fmp_status st;

    for (unsigned i = 0; i < 8; i++)
        size[i] = (unsigned char)((uint64_t)padded >> (8 * i));
    st = fish_outfile_write(out, size, sizeof size, err);
    if (!st)
        st = fish_outfile_write(out, text, len, err);
    return st ? st : fish_outfile_write(out, "       ", padded - len, err);
}

fmp_status fish_tensor_writer_new(const char *path, bool replace, const char *const *meta,
                                  const fish_tensor_desc *descs, uint32_t n,
                                  fish_tensor_writer **ret, fmp_error *err)
{
    fish_tensor_writer *w;
    char *text = NULL;
    uint64_t data = 0;
    fmp_status st = make_header(meta, descs, n, &text, &data, err);

    if (st)
        return st;
    w = fish_calloc(1, sizeof *w);
    if (w)
        w->path = fish_strdup(path);
    if (!w || !w->path)
        st = fish_fail(err, FMP_ENOMEM, "%s: out of memory", path);
    if (!st)
        st = fish_outfile_new(path, replace, &w->out, err);
    if (!st)
        st = put_header(w->out, text, err);
    fish_free(text);
    if (st) {
        fish_tensor_writer_abort(w);
        return st;
    }
    w->to_come = data;
    *ret = w;
    return FMP_OK;
}

fmp_status fish_tensor_writer_put(fish_tensor_writer *w, const void *data, size_t len,
                                  fmp_error *err)
{
    if (len > w->to_come)
        return fish_fail(err, FMP_EUSAGE, "%s: more data than its tensors take", w->path);
    w->to_come -= len;
    return fish_outfile_write(w->out, data, len, err);
}

fmp_status fish_tensor_writer_commit(fish_tensor_writer *w, fmp_error *err)
{
    fish_outfile *out = w->out;
    fmp_status st = FMP_OK;

    if (w->to_come)
        st = fish_fail(err, FMP_EUSAGE, "%s: %llu bytes of its tensors are missing", w->path,
                       (unsigned long long)w->to_come);
    if (!st) {
        w->out = NULL;
        st = fish_outfile_commit(out, err);
    }
    fish_tensor_writer_abort(w);
    return st;
}

void fish_tensor_writer_abort(fish_tensor_writer *w)
{
    if (!w)
        return;
    fish_outfile_abort(w->out);
    fish_free(w->path);
    fish_free(w);
}

/* ---- reading the metadata ---------------------------------------------------------------------
 */

static bool read_fully(int fd, void *buf, size_t len, off_t off)
{
    size_t done = 0;

    while (done < len) {
        const ssize_t n = pread(fd, (char *)buf + done, len - done, off + (off_t)done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

static fmp_status read_header(const char *path, char **ret, uint64_t *ret_len, fmp_error *err)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    unsigned char size[8];
    uint64_t len = 0;
    char *text = NULL;
    fmp_status st = FMP_OK;

    if (fd < 0)
        return fish_fail_errno(err, errno, "%s: cannot open", path);
    if (!read_fully(fd, size, sizeof size, 0))
        st = fish_fail(err, FMP_ECORRUPT, "%s: no safetensors file: shorter than 8 bytes", path);
    for (unsigned i = 0; i < 8 && !st; i++)
        len |= (uint64_t)size[i] << (8 * i);
    if (!st && (len > MAX_HEADER || (off_t)(8 + len) > lseek(fd, 0, SEEK_END)))
        st = fish_fail(err, FMP_ECORRUPT, "%s: no safetensors file: its header would be %llu bytes",
                       path, (unsigned long long)len);
    if (!st && !(text = fish_alloc((size_t)len + 1, 1)))
        st = fish_fail(err, FMP_ENOMEM, "%s: out of memory", path);
    if (!st && !read_fully(fd, text, (size_t)len, 8))
        st = fish_fail(err, FMP_EIO, "%s: cannot read its header", path);
    (void)close(fd);
    if (st) {
        fish_free(text);
        return st;
    }
    text[len] = 0;
    *ret = text;
    *ret_len = len;
    return FMP_OK;
}

fmp_status fish_tensor_metadata(const char *path, char **ret, fmp_error *err)
{
    char *text = NULL;
    char *dump = NULL;
    uint64_t len = 0;
    json_t *header = NULL;
    json_t *meta;
    fmp_status st = read_header(path, &text, &len, err);

    if (st)
        return st;
    header = json_loadb(text, (size_t)len, JSON_REJECT_DUPLICATES, NULL);
    meta = json_object_get(header, "__metadata__");
    if (!header)
        st = fish_fail(err, FMP_ECORRUPT, "%s: no safetensors file: its header is not JSON", path);
    else
        dump = json_is_object(meta) ? fish_json_dump(meta, JSON_COMPACT) : fish_strdup("{}");
    if (!st && !dump)
        st = fish_fail(err, FMP_ENOMEM, "%s: out of memory", path);
    if (!st)
        *ret = dump;
    json_decref(header);
    fish_free(text);
    return st;
}
