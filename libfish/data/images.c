/*
 * Images and their labels from array files: shapes are checked against each other when the files
 * are opened, pixels are read when an image is asked for.
 */
#include <endian.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/fail.h"
#include "core/mem.h"
#include "data/data_parts.h"

#define PIXELS_MAX   ((uint64_t)1 << 24) /* of one image */
#define LABELS_CHUNK 4096u

static fmp_status read_header(const fish_datafile *f, fish_array_format format, fish_array *ret,
                              fmp_error *err)
{
    return format == FISH_IDX ? fish_idx_header(f, ret, err) : fish_npy_header(f, ret, err);
}

static fmp_status check_images(fish_data *d, fmp_error *err)
{
    const fish_array *a = &d->images;
    const char *path = d->file.path;

    if (a->rank < 3)
        return fish_fail(err, FMP_ECORRUPT,
                         "%s: expected images (N, H, W) or (N, C, H, W), found %u dimensions", path,
                         a->rank);
    if (!(a->kind == 'u' && a->item == 1) && !(a->kind == 'f' && a->item == 4))
        return fish_fail(err, FMP_ENOTSUP, "%s: expected pixels of uint8 or float32, found %s%u",
                         path,
                         a->kind == 'u'   ? "uint"
                         : a->kind == 'i' ? "int"
                                          : "float",
                         8u * a->item);
    if (a->shape[0] > FISH_EXAMPLES_MAX)
        return fish_fail(err, FMP_ELIMIT, "%s: %llu images, limit %u", path,
                         (unsigned long long)a->shape[0], FISH_EXAMPLES_MAX);
    if (a->n_items / a->shape[0] > PIXELS_MAX)
        return fish_fail(err, FMP_ELIMIT, "%s: images of %llu pixels, limit %llu", path,
                         (unsigned long long)(a->n_items / a->shape[0]),
                         (unsigned long long)PIXELS_MAX);
    d->n = (uint32_t)a->shape[0];
    d->chw[0] = a->rank == 4 ? (uint32_t)a->shape[1] : 1;
    d->chw[1] = (uint32_t)a->shape[a->rank - 2];
    d->chw[2] = (uint32_t)a->shape[a->rank - 1];
    return FMP_OK;
}

/* ---- labels ---- */

/* Puts `to` for the first `from` in the name of the file; false when it is not there. */
static bool replace_in_name(char *path, size_t cap, const char *from, const char *to)
{
    char *slash = strrchr(path, '/');
    char *at = strstr(slash ? slash : path, from);
    const size_t from_len = strlen(from);
    const size_t to_len = strlen(to);

    if (!at || strlen(path) - from_len + to_len >= cap)
        return false;
    memmove(at + to_len, at + from_len, strlen(at + from_len) + 1);
    memcpy(at, to, to_len);
    return true;
}

/* The file of labels beside the file of images; to fish_free(). */
static fmp_status labels_beside(const char *path, char **ret, fmp_error *err)
{
    const size_t cap = strlen(path) + 8;
    char *p = fish_alloc(cap, 1);

    if (!p)
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", path);
    memcpy(p, path, strlen(path) + 1);
    if (!replace_in_name(p, cap, "images", "labels")) {
        fish_free(p);
        return fish_fail(err, FMP_EUSAGE,
                         "%s: no \"images\" in its name that would lead to the file of labels; "
                         "give that file",
                         path);
    }
    if (!replace_in_name(p, cap, "idx3", "idx1"))
        (void)replace_in_name(p, cap, "idx4", "idx1");
    *ret = p;
    return FMP_OK;
}

static uint64_t little(const unsigned char *p, unsigned n)
{
    uint64_t x = 0;

    for (unsigned i = n; i--;)
        x = x << 8 | p[i];
    return x;
}

/* An integer item as a decimal number. */
static void item_text(const fish_array *a, const unsigned char *p, char *text, size_t cap)
{
    const uint64_t x = little(p, a->item);
    const unsigned unused = 64 - 8u * a->item;

    if (a->kind == 'u')
        (void)snprintf(text, cap, "%llu", (unsigned long long)x);
    else /* the shift back extends the sign */
        (void)snprintf(text, cap, "%lld", (long long)((int64_t)(x << unused) >> unused));
}

static double item_value(const fish_array *a, const unsigned char *p)
{
    const uint64_t x = little(p, a->item);
    const unsigned unused = 64 - 8u * a->item;
    double wide;
    float narrow;

    if (a->kind == 'u')
        return (double)x;
    if (a->kind == 'i')
        return (double)((int64_t)(x << unused) >> unused);
    if (a->item == 8) {
        memcpy(&wide, &x, sizeof wide);
        return wide;
    }
    memcpy(&narrow, &(uint32_t){(uint32_t)x}, sizeof narrow);
    return narrow;
}

static fmp_status set_label(fish_data *d, const fish_datafile *f, const fish_array *a,
                            const unsigned char *item, uint32_t example, fmp_error *err)
{
    char where[256];
    char text[24];

    (void)snprintf(where, sizeof where, "%.200s: item %u", f->path, example);
    if (d->regression) {
        const double x = item_value(a, item);

        if (!(fabs(x) <= 3.4028234663852886e38)) /* what a float holds; false for NaN too */
            return fish_fail(err, FMP_ECORRUPT, "%s: expected a finite number, found %g", where, x);
        d->values[example] = (float)x;
        return FMP_OK;
    }
    if (d->by_position) {
        const double x = item_value(a, item);

        if (x < 0 || x >= d->classes.n)
            return fish_fail(err, FMP_EUSAGE,
                             "%s: expected the number of one of %u classes, found %g", where,
                             d->classes.n, x);
        d->labels[example] = (int32_t)x;
        return FMP_OK;
    }
    item_text(a, item, text, sizeof text);
    return fish_classes_label(&d->classes, text, strlen(text), where, &d->labels[example], err);
}

static fmp_status read_items(fish_data *d, const fish_datafile *f, const fish_array *a,
                             fmp_error *err)
{
    unsigned char *chunk = fish_alloc(LABELS_CHUNK, a->item);
    fmp_status st = FMP_OK;

    if (!chunk)
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", f->path);
    d->by_position = fish_classes_by_position(&d->classes);
    for (uint32_t i = 0; i < d->n && !st; i++) {
        const uint32_t at = i % LABELS_CHUNK;

        if (!at) {
            const uint32_t n = d->n - i < LABELS_CHUNK ? d->n - i : LABELS_CHUNK;

            st = fish_datafile_read(f, a->off + (uint64_t)i * a->item, chunk, (size_t)n * a->item,
                                    err);
            if (st)
                break;
        }
        st = set_label(d, f, a, chunk + (size_t)at * a->item, i, err);
    }
    fish_free(chunk);
    return st;
}

static fmp_status check_labels(const fish_data *d, const fish_datafile *f, const fish_array *a,
                               fmp_error *err)
{
    if (a->rank != 1)
        return fish_fail(err, FMP_ECORRUPT, "%s: expected labels (N), found %u dimensions", f->path,
                         a->rank);
    if (a->shape[0] != d->n)
        return fish_fail(err, FMP_ECORRUPT, "%s: expected %u labels, one an image, found %llu",
                         f->path, d->n, (unsigned long long)a->shape[0]);
    if (a->kind == 'f' && !d->regression)
        return fish_fail(err, FMP_ENOTSUP,
                         "%s: expected integers as labels of classes, found floats", f->path);
    return FMP_OK;
}

static fmp_status read_labels(fish_data *d, fish_array_format format, const char *given,
                              crypto_generichash_state *digest, fmp_error *err)
{
    fish_datafile f = {0};
    fish_array a;
    char *beside = NULL;
    fmp_status st = FMP_OK;

    if (!given)
        st = labels_beside(d->file.path, &beside, err);
    if (!st)
        st = fish_datafile_open(given ? given : beside, format == FISH_IDX, &f, err);
    if (!st)
        st = read_header(&f, format, &a, err);
    if (!st)
        st = check_labels(d, &f, &a, err);
    if (!st)
        st = read_items(d, &f, &a, err);
    if (!st)
        st = fish_datafile_digest(&f, digest, err);
    fish_datafile_release(&f);
    fish_free(beside);
    return st;
}

/* ---- images ---- */

fmp_status fish_images_read(fish_data *d, fish_array_format format,
                            const fish_data_options *options, crypto_generichash_state *digest,
                            fmp_error *err)
{
    fmp_status st = read_header(&d->file, format, &d->images, err);

    if (!st)
        st = check_images(d, err);
    if (!st)
        st = fish_datafile_digest(&d->file, digest, err);
    if (st)
        return st;
    d->labels = d->regression ? NULL : fish_calloc(d->n, sizeof *d->labels);
    d->values = d->regression ? fish_calloc(d->n, sizeof *d->values) : NULL;
    if (!d->labels && !d->values)
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", d->file.path);
    for (int i = 0; i < 256; i++)
        d->scaled[i] = (float)((i / 255.0 - d->mean) / d->std);
    return d->no_labels ? FMP_OK : read_labels(d, format, options->labels_path, digest, err);
}

static fmp_status read_floats(const fish_data *d, uint64_t off, uint32_t example, size_t n,
                              float *pixels, fmp_error *err)
{
    const fmp_status st = fish_datafile_read(&d->file, off, pixels, n * sizeof *pixels, err);

    for (size_t i = 0; i < n && !st; i++) {
        uint32_t bits;
        float x;

        memcpy(&bits, pixels + i, sizeof bits);
        bits = le32toh(bits);
        memcpy(&x, &bits, sizeof x);
        if (!isfinite(x))
            return fish_fail(err, FMP_ECORRUPT, "%s: image %u: pixel %zu is not a finite number",
                             d->file.path, example, i);
        pixels[i] = (float)(((double)x - d->mean) / d->std);
    }
    return st;
}

fmp_status fish_data_pixels(const fish_data *d, uint32_t example, float *pixels, fmp_error *err)
{
    const size_t n = (size_t)d->chw[0] * d->chw[1] * d->chw[2];
    const uint64_t off = d->images.off + (uint64_t)example * n * d->images.item;
    const unsigned char *bytes;
    fmp_status st;

    if (d->kind != FISH_IMAGE || example >= d->n)
        return fish_fail(err, FMP_EUSAGE, "%s: no image number %u", d->file.path, example);
    if (d->images.kind == 'f')
        return read_floats(d, off, example, n, pixels, err);
    /* The bytes go to the end of the room: number i is read before its float can lie over it. */
    bytes = (unsigned char *)pixels + 3 * n;
    st = fish_datafile_read(&d->file, off, (unsigned char *)pixels + 3 * n, n, err);
    for (size_t i = 0; i < n && !st; i++)
        pixels[i] = d->scaled[bytes[i]];
    return st;
}
