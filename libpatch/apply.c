/*
 * fmp_apply() and fmp_revert(): files around what rebuild.c makes.  Nothing appears at the output's
 * name before every tensor of input and result has been checked.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "rebuild.h"

#define GROUP 64u /* files that are open at once */

typedef struct apply {
    fmp_rebuild r;
    fmp_apply_options o;
    const char *path;
    bool is_dir;
    fmp_outdir dir;
    const fmp_layout_side *layout; /* of the result; NULL with layout_base */
    fmp_apply_result result;
} apply;

static fmp_status no_memory(fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "applying a patch: out of memory");
}

/* ---- the plan: which tensor lies where --------------------------------------------------------
 */

static fmp_status alloc_plan(apply *a, uint32_t n_files, uint32_t n_tensors, fmp_error *err)
{
    fmp_rebuild *r = &a->r;

    r->files = fmp_calloc(n_files, sizeof *r->files);
    r->order = fmp_calloc(n_tensors, sizeof *r->order);
    r->place = fmp_calloc(n_tensors, sizeof *r->place);
    r->file_of = fmp_calloc(n_tensors, sizeof *r->file_of);
    if (!r->files || !r->order || !r->place || !r->file_of)
        return no_memory(err);
    r->n_files = n_files;
    r->n_order = n_tensors;
    return FMP_OK;
}

static fmp_status find_driver(const apply *a, const char *name, const fmp_store_driver **ret,
                              fmp_error *err)
{
    *ret = fmp_store_driver_find(name);
    return *ret ? FMP_OK
                : fmp_fail(err, FMP_ENOTSUP, FMP_NO_OFFSET,
                           "%s: no driver for files of type \"%s\"", a->r.p->file.path, name);
}

static fmp_status plan_from_layout(apply *a, fmp_error *err)
{
    const fmp_layout_side *l = a->layout;
    fmp_rebuild *r = &a->r;
    uint32_t at = 0;
    fmp_status st = alloc_plan(a, l->n_files, l->n_order, err);

    if (st)
        return st;
    memcpy(r->order, l->order, (size_t)l->n_order * sizeof *l->order);
    for (uint32_t i = 0; i < l->n_files; i++) {
        fmp_rebuild_file *f = &r->files[i];

        f->name = l->files[i].name;
        f->header_len = l->files[i].header_len;
        f->first = at;
        f->n_tensors = l->files[i].n_tensors;
        at += f->n_tensors;
        st = find_driver(a, l->files[i].driver, &f->driver, err);
        if (st)
            return st;
    }
    return FMP_OK;
}

/* The row of the result that a tensor of the input lives on as, or FMP_NONE. */
static uint32_t heir_of(const fmp_table *t, const uint32_t *renamed, uint32_t row)
{
    return t->rows[row].target_schema != FMP_NONE ? row : renamed[row];
}

/* The base's files, each with what is left of its tensors; added ones go into the last file. */
static fmp_status plan_from_input(apply *a, fmp_error *err)
{
    fmp_rebuild *r = &a->r;
    const fmp_store *in = r->in;
    const fmp_table *t = &r->p->table;
    uint32_t *renamed = fmp_malloc((size_t)t->n_rows * sizeof *renamed);
    uint8_t *placed = fmp_calloc((size_t)t->n_rows + 1, 1);
    const uint32_t n_files = fmp_store_weights(in);
    uint32_t at = 0;
    fmp_status st;

    st = alloc_plan(a, n_files, r->p->layout.target.n_order, err);
    if (!st && (!renamed || !placed))
        st = no_memory(err);
    if (st)
        goto out;
    memset(renamed, 0xff, (size_t)t->n_rows * sizeof *renamed);
    for (uint32_t i = 0; i < t->n_rows; i++) {
        if (t->rows[i].map != FMP_NONE && t->rows[i].state != FMP_ALIAS &&
            t->rows[i].base_schema == FMP_NONE)
            renamed[t->maps[t->rows[i].map].source] = i;
    }
    for (uint32_t f = 0; f < n_files; f++) {
        const fmp_store_file *file = &in->files[f];

        r->files[f].name = file->name;
        r->files[f].driver = in->driver;
        r->files[f].first = at;
        for (uint32_t k = 0; k < file->n_tensors; k++) {
            const fmp_tensor_info info = fmp_store_tensor(in, file->first_tensor + k);
            const uint32_t heir = heir_of(t, renamed, fmp_table_find(t, info.name, info.name_len));

            if (heir == FMP_NONE || placed[heir])
                continue;
            placed[heir] = 1;
            r->order[at++] = heir;
        }
        for (uint32_t i = 0; i < r->n_order && f + 1 == n_files; i++) {
            if (!placed[r->p->layout.target.order[i]])
                r->order[at++] = r->p->layout.target.order[i];
        }
        r->files[f].n_tensors = at - r->files[f].first;
    }
out:
    fmp_free(renamed);
    fmp_free(placed);
    return st;
}

/* ---- headers ----------------------------------------------------------------------------------
 */

typedef struct header {
    apply *a;
    const fmp_rebuild_file *file;
    fmp_out *out; /* NULL: only measured */
    uint64_t len;
} header;

static fmp_tensor_info header_tensor(void *ctx, uint32_t i)
{
    const header *h = ctx;
    const fmp_rebuild *r = &h->a->r;

    return fmp_table_info(&r->p->table, r->order[h->file->first + i], !r->backward);
}

static fmp_status header_sink(void *ctx, const void *data, size_t len, fmp_error *err)
{
    header *h = ctx;
    const fmp_status st = h->out ? fmp_out_write(h->out, h->len, data, len, err) : FMP_OK;

    h->len += len;
    return st;
}

static fmp_status derive_header(apply *a, uint32_t file, const fmp_buf *hint, fmp_out *out,
                                uint64_t *ret_len, fmp_error *err)
{
    header h = {.a = a, .file = &a->r.files[file], .out = out};
    const fmp_status st = h.file->driver->header_write(hint->data, hint->len, header_tensor, &h,
                                                       h.file->n_tensors, header_sink, &h, err);

    *ret_len = h.len;
    return st;
}

/* With layout_base: how long the new headers are, so that places are known. */
static fmp_status measure_headers(apply *a, fmp_error *err)
{
    for (uint32_t i = 0; i < a->r.n_files && !a->layout; i++) {
        fmp_buf hint = {0};
        fmp_status st = a->r.in->driver->header_hint(a->r.in, i, &hint, err);

        if (!st)
            st = derive_header(a, i, &hint, NULL, &a->r.files[i].header_len, err);
        fmp_buf_release(&hint);
        if (st)
            return st;
    }
    return FMP_OK;
}

/* Bytes of an object that the patch holds whole: a header, a side file. */
static fmp_status write_object(apply *a, unsigned domain, uint32_t object, uint64_t len,
                               fmp_out *out, const fmp_digest *want, fmp_error *err)
{
    fmp_rebuild_slot *s = &a->r.slot[0];
    fmp_merkle m;
    fmp_digest found;
    fmp_status st = FMP_OK;

    fmp_merkle_init(&m);
    for (uint64_t at = 0; at < len && !st; at += FMP_LEAF_LEN) {
        const uint32_t n = (uint32_t)(len - at < FMP_LEAF_LEN ? len - at : FMP_LEAF_LEN);
        bool touched;

        memset(s->buf, 0, n);
        st = fmp_decoder_apply(&s->dec, a->r.p, domain, object, at, n, s->buf, FMP_FORWARD,
                               &touched, err);
        if (!st && a->r.write)
            st = fmp_out_write(out, at, s->buf, n, err);
        if (!st && want) {
            found = fmp_leaf_digest(at / FMP_LEAF_LEN, s->buf, n);
            fmp_merkle_push(&m, &found);
        }
    }
    if (st || !want)
        return st;
    found = fmp_merkle_final(&m, len);
    return fmp_digest_equal(&found, want)
               ? FMP_OK
               : fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET, "%s: does not give file \"%s\"",
                          a->r.p->file.path, fmp_patch_object_name(a->r.p, domain, object));
}

static fmp_status write_header(apply *a, uint32_t file, fmp_error *err)
{
    fmp_rebuild_file *f = &a->r.files[file];
    fmp_out *out = a->r.write ? &f->out : NULL;
    fmp_buf hint = {0};
    uint64_t len = 0;
    fmp_status st;

    if (a->layout && a->layout->files[file].header_stored)
        return write_object(a, a->r.backward ? FMP_DOMAIN_OLD_HEADERS : FMP_DOMAIN_HEADERS, file,
                            f->header_len, out, NULL, err);
    if (a->layout)
        return (st = derive_header(a, file, &a->layout->files[file].hint, out, &len, err)) ? st
               : len == f->header_len
                   ? FMP_OK
                   : fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                              "%s: file \"%s\": header of %llu bytes, %llu expected",
                              a->r.p->file.path, f->name, (unsigned long long)len,
                              (unsigned long long)f->header_len);
    st = a->r.in->driver->header_hint(a->r.in, file, &hint, err);
    if (!st)
        st = derive_header(a, file, &hint, out, &len, err);
    fmp_buf_release(&hint);
    return st;
}

/* ---- weights files ----------------------------------------------------------------------------
 */

static fmp_status too_large(const apply *a, fmp_error *err)
{
    return fmp_fail(err, FMP_ELIMIT, FMP_NO_OFFSET,
                    "%s: the result would exceed the limit of %llu bytes", a->r.p->file.path,
                    (unsigned long long)a->r.p->limits.max_size);
}

static fmp_status place_tensors(apply *a, fmp_error *err)
{
    fmp_rebuild *r = &a->r;
    uint64_t side = 0;

    for (uint32_t f = 0; f < r->n_files; f++) {
        uint64_t at = r->files[f].header_len;

        for (uint32_t i = r->files[f].first; i < r->files[f].first + r->files[f].n_tensors; i++) {
            r->place[i] = at;
            r->file_of[i] = f;
            at += fmp_table_info(&r->p->table, r->order[i], !r->backward).n_bytes;
            if (at > r->p->limits.max_size)
                break;
        }
        if (at > r->p->limits.max_size)
            return fmp_fail(err, FMP_ELIMIT, FMP_NO_OFFSET,
                            "%s: file \"%s\" would have %llu bytes, the limit is %llu",
                            r->p->file.path, r->files[f].name, (unsigned long long)at,
                            (unsigned long long)r->p->limits.max_size);
        a->result.n_bytes += at;
        if (a->result.n_bytes > r->p->limits.max_size)
            return too_large(a, err);
    }
    for (uint32_t i = 0; i < r->p->layout.n_side && a->is_dir; i++) {
        const fmp_side_file *f = &r->p->layout.side[i];

        side += r->backward ? f->base_size : f->target_size; /* 2^56 at most */
        if (side > r->p->limits.max_size)
            return too_large(a, err);
    }
    return FMP_OK;
}

static uint64_t file_size(const apply *a, uint32_t f)
{
    const fmp_rebuild_file *x = &a->r.files[f];
    const uint32_t last = x->first + x->n_tensors - 1;

    return x->n_tensors
               ? a->r.place[last] +
                     fmp_table_info(&a->r.p->table, a->r.order[last], !a->r.backward).n_bytes
               : x->header_len;
}

/* A header that the patch brought must say of the file what its tensors are. */
static fmp_status check_stored_header(const apply *a, uint32_t file, fmp_error *err)
{
    const fmp_rebuild *r = &a->r;
    const fmp_rebuild_file *f = &r->files[file];
    fmp_store *made = NULL;
    bool same;

    if (!a->layout || !a->layout->files[file].header_stored)
        return FMP_OK;
    same = fmp_store_open(f->out.temp, NULL, &made, NULL) == FMP_OK && made->driver == f->driver &&
           made->n_tensors == f->n_tensors;
    for (uint32_t i = 0; same && i < f->n_tensors; i++) {
        const uint32_t row = r->order[f->first + i];
        const fmp_tensor_info want = fmp_table_info(&r->p->table, row, !r->backward);
        const uint32_t found = fmp_store_find(made, want.name, want.name_len);

        same = found != UINT32_MAX && made->tensors[found].off == r->place[f->first + i] &&
               fmp_same_shape(fmp_store_tensor(made, found), want);
    }
    fmp_store_close(made);
    return same ? FMP_OK
                : fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                           "%s: the stored header of file \"%s\" does not describe its tensors",
                           r->p->file.path, f->name);
}

static fmp_status write_group(apply *a, uint32_t first, uint32_t n, fmp_error *err)
{
    fmp_rebuild *r = &a->r;
    fmp_status st = FMP_OK;

    for (uint32_t i = first; i < first + n && !st; i++) {
        fmp_rebuild_file *f = &r->files[i];

        if (r->write && a->is_dir)
            st = fmp_outdir_file(&a->dir, f->name, file_size(a, i), &f->out, err);
        else if (r->write)
            st = fmp_out_open(&f->out, a->path, file_size(a, i), a->o.replace, 0666, err);
        if (!st)
            st = write_header(a, i, err);
    }
    if (!st)
        st = fmp_rebuild_tensors(r, first, n, err);
    for (uint32_t i = first; i < first + n && !st && r->write; i++) {
        st = check_stored_header(a, i, err);
        if (!st)
            st = fmp_out_sync(&r->files[i].out, err);
        if (!st && a->is_dir)
            st = fmp_out_commit(&r->files[i].out, false, err);
    }
    return st;
}

/* ---- side files -------------------------------------------------------------------------------
 */

static fmp_status copy_bytes(apply *a, uint32_t file, fmp_out *out, fmp_digest *ret, fmp_error *err)
{
    const fmp_store *in = a->r.in;
    const uint64_t len = in->files[file].size;
    uint8_t *buf = a->r.slot[0].buf;
    fmp_merkle m;
    fmp_status st = FMP_OK;

    fmp_merkle_init(&m);
    for (uint64_t at = 0; at < len && !st; at += FMP_LEAF_LEN) {
        const size_t n = len - at < FMP_LEAF_LEN ? (size_t)(len - at) : FMP_LEAF_LEN;
        fmp_digest d;

        st = fmp_store_read_file(in, file, at, buf, n, err);
        if (st)
            break;
        d = fmp_leaf_digest(at / FMP_LEAF_LEN, buf, n);
        fmp_merkle_push(&m, &d);
        if (a->r.write)
            st = fmp_out_write(out, at, buf, n, err);
    }
    *ret = fmp_merkle_final(&m, len);
    return st;
}

static fmp_status copy_side(apply *a, uint32_t file, const fmp_digest *want, fmp_out *out,
                            fmp_error *err)
{
    fmp_digest d;
    const fmp_status st = copy_bytes(a, file, out, &d, err);

    if (st || fmp_digest_equal(&d, want))
        return st;
    return fmp_fail(err, FMP_EBASE, FMP_NO_OFFSET,
                    "%s: not the %s of this patch: file \"%s\" differs", a->r.in->path,
                    a->r.backward ? "target" : "base", a->r.in->files[file].name);
}

/* With layout_base the input's own index stays true when every tensor is where it was; else the
 * directory has none, and its files say what they hold. */
static fmp_status keep_index(apply *a, fmp_error *err)
{
    const fmp_store *in = a->r.in;
    fmp_status st = FMP_OK;

    for (uint32_t i = 0; i < a->r.n_order; i++) {
        if (a->r.n_order != in->n_tensors || a->r.in_of[a->r.order[i]] != i)
            return FMP_OK;
    }
    for (uint32_t i = 0; i < in->n_files && !st; i++) {
        fmp_out out = {0};
        fmp_digest d;

        if (!in->files[i].side || !fmp_is_index(in->files[i].name))
            continue;
        if (a->r.write)
            st = fmp_outdir_file(&a->dir, in->files[i].name, in->files[i].size, &out, err);
        if (!st)
            st = copy_bytes(a, i, &out, &d, err);
        if (!st && a->r.write)
            st = fmp_out_sync(&out, err);
        if (!st && a->r.write)
            st = fmp_out_commit(&out, false, err);
        fmp_out_discard(&out);
        a->result.n_files++;
        a->result.n_bytes += in->files[i].size;
    }
    return st;
}

static fmp_status write_side(apply *a, uint32_t i, fmp_error *err)
{
    const fmp_side_file *f = &a->r.p->layout.side[i];
    const bool back = a->r.backward;
    const bool wanted = back ? f->in_base : f->in_target;
    const bool stored = f->changed || (back ? !f->in_target : !f->in_base);
    const uint64_t size = back ? f->base_size : f->target_size;
    const uint32_t from = stored ? FMP_NONE : fmp_store_find_side(a->r.in, f->name);
    fmp_out out = {0};
    fmp_status st = FMP_OK;

    if (!wanted || (!a->layout && fmp_is_index(f->name)))
        return FMP_OK;
    if (!stored && from == FMP_NONE) {
        if (a->r.in->is_dir)
            return fmp_fail(err, FMP_EBASE, FMP_NO_OFFSET, "%s: file \"%s\" is missing",
                            a->r.in->path, f->name);
        a->result.exact_files = false; /* the input is bare weights: nobody can have it */
        return FMP_OK;
    }
    if (a->r.write)
        st = fmp_outdir_file(&a->dir, f->name, size, &out, err);
    if (!st)
        st = stored ? write_object(a, back ? FMP_DOMAIN_OLD_FILES : FMP_DOMAIN_FILES, i, size, &out,
                                   back ? &f->base_digest : &f->target_digest, err)
                    : copy_side(a, from, back ? &f->base_digest : &f->target_digest, &out, err);
    if (!st && a->r.write)
        st = fmp_out_sync(&out, err);
    if (!st && a->r.write)
        st = fmp_out_commit(&out, false, err);
    fmp_out_discard(&out);
    a->result.n_files++;
    a->result.n_bytes += size;
    return st;
}

/* Side files of the input that the patch does not know stay behind. */
static void count_left(apply *a)
{
    const fmp_layout *l = &a->r.p->layout;
    const fmp_store *in = a->r.in;

    for (uint32_t i = 0; i < in->n_files; i++) {
        uint32_t low = 0, high = l->n_side;

        while (low < high && in->files[i].side) {
            const uint32_t mid = low + (high - low) / 2;

            if (strcmp(l->side[mid].name, in->files[i].name) < 0)
                low = mid + 1;
            else
                high = mid;
        }
        a->result.n_left += in->files[i].side &&
                            (low == l->n_side || strcmp(l->side[low].name, in->files[i].name) != 0);
    }
}

/* ---- all of it --------------------------------------------------------------------------------
 */

/* Whether the output's name is that of a file that is being read. */
static bool is_input(const apply *a)
{
    fmp_file f = {0};
    bool same;

    if (fmp_file_open(&f, a->path, NULL))
        return false;
    same = f.dev == a->r.p->file.dev && f.ino == a->r.p->file.ino;
    fmp_file_close(&f);
    return same || fmp_store_is_made_of(a->r.in, a->path);
}

static fmp_status plan(apply *a, fmp_error *err)
{
    const fmp_layout *l = &a->r.p->layout;
    fmp_status st = fmp_rebuild_check_shapes(&a->r, err);

    if (st)
        return st;
    if (a->o.layout_base && a->r.backward)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "the base's layout is for apply alone");
    if (a->o.replace && !a->o.dry_run && is_input(a))
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "%s: is an input, and stays as it is",
                        a->path);
    if (a->o.layout_base) {
        a->is_dir = a->r.in->is_dir || a->r.in->n_files > 1;
        st = plan_from_input(a, err);
    } else {
        a->layout = a->r.backward ? &l->base : &l->target;
        a->is_dir = a->layout->is_dir;
        st = plan_from_layout(a, err);
    }
    a->result.exact_files = a->layout != NULL;
    if (!st)
        st = measure_headers(a, err);
    if (!st)
        st = place_tensors(a, err);
    a->r.total = a->result.n_bytes;
    return st;
}

static fmp_status write_all(apply *a, fmp_error *err)
{
    fmp_status st = FMP_OK;

    if (a->r.write && a->is_dir)
        st = fmp_outdir_open(&a->dir, a->path, err);
    for (uint32_t i = 0; i < a->r.n_files && !st; i += GROUP) {
        const uint32_t left = a->r.n_files - i;

        st = write_group(a, i, left < GROUP ? left : GROUP, err);
    }
    a->result.n_files = a->r.n_files;
    if (!st)
        st = fmp_rebuild_check_rest(&a->r, err);
    for (uint32_t i = 0; i < a->r.p->layout.n_side && !st && a->is_dir; i++)
        st = write_side(a, i, err);
    if (!st && !a->layout && a->is_dir)
        st = keep_index(a, err);
    if (!st)
        st = fmp_store_unchanged(a->r.in, err);
    if (st || !a->r.write)
        return st;
    return a->is_dir ? fmp_outdir_commit(&a->dir, err)
                     : fmp_out_commit(&a->r.files[0].out, a->o.replace, err);
}

static fmp_status run(const fmp_store *in, const fmp_patch *p, const char *path, bool backward,
                      const fmp_apply_options *options, fmp_apply_result *ret, fmp_error *err)
{
    apply a = {.path = path};
    fmp_status st;

    if (options)
        memcpy(&a.o, options, options->size < sizeof a.o ? options->size : sizeof a.o);
    st = fmp_rebuild_init(&a.r, p, in, backward, a.o.n_threads, a.o.progress, err);
    a.r.write = !a.o.dry_run;
    if (!st)
        st = plan(&a, err);
    if (!st)
        st = write_all(&a, err);
    if (!st && in->is_dir)
        count_left(&a);
    fmp_rebuild_release(&a.r);
    fmp_outdir_discard(&a.dir);
    if (!st && ret)
        *ret = a.result;
    return st;
}

fmp_status fmp_revert(const fmp_store *target, const fmp_patch *patch, const char *path,
                      const fmp_apply_options *options, fmp_apply_result *ret, fmp_error *err)
{
    if (patch->stuck[0])
        return fmp_fail(err, FMP_EPOLICY, FMP_NO_OFFSET, "%s: cannot be reverted: %s",
                        patch->file.path, patch->stuck);
    return run(target, patch, path, true, options, ret, err);
}

/* ---- chains -----------------------------------------------------------------------------------
 */

static fmp_status run_chain(const fmp_store *base, const fmp_patch *const *patches, size_t n,
                            const char *path, const fmp_apply_options *options, fmp_outdir *steps,
                            fmp_apply_result *ret, fmp_error *err)
{
    fmp_apply_options between = {.size = sizeof between};
    const fmp_store *in = base;
    fmp_store *made = NULL;
    fmp_status st = FMP_OK;

    if (options) {
        between.n_threads = options->n_threads;
        between.progress = options->progress;
    }
    for (size_t i = 0; i + 1 < n && !st; i++) {
        const fmp_layout_side *l = &patches[i]->layout.target;
        const fmp_store_options open = {.size = sizeof open,
                                        .raw = !l->is_dir && l->n_files &&
                                               strcmp(l->files[0].driver, "raw") == 0};
        const size_t len = strlen(steps->temp) + 40;
        char *name = fmp_malloc(len);
        fmp_store *next = NULL;

        if (!name)
            st = no_memory(err);
        else
            snprintf(name, len, "%s/%zu", steps->temp, i);
        if (!st)
            st = run(in, patches[i], name, false, &between, NULL, err);
        if (!st)
            st = fmp_store_open(name, &open, &next, err);
        fmp_free(name);
        fmp_store_close(made);
        made = next;
        in = next;
    }
    if (!st)
        st = run(in, patches[n - 1], path, false, options, ret, err);
    fmp_store_close(made);
    return st;
}

fmp_status fmp_apply(const fmp_store *base, const fmp_patch *const *patches, size_t n_patches,
                     const char *path, const fmp_apply_options *options, fmp_apply_result *ret,
                     fmp_error *err)
{
    fmp_outdir steps = {0};
    fmp_status st;
    char *name;
    size_t len;

    if (n_patches == 0)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "no patch to apply");
    if (n_patches == 1)
        return run(base, patches[0], path, false, options, ret, err);
    for (size_t i = 1; i < n_patches; i++) {
        if (memcmp(patches[i - 1]->summary.target_root, patches[i]->summary.base_root,
                   FMP_DIGEST_LEN) != 0)
            return fmp_fail(err, FMP_EBASE, FMP_NO_OFFSET,
                            "%s: does not follow %s: its base is not the other's target",
                            patches[i]->file.path, patches[i - 1]->file.path);
    }
    len = strlen(path) + 8;
    name = fmp_malloc(len);
    if (!name)
        return no_memory(err);
    snprintf(name, len, "%s.steps", path);
    st = fmp_outdir_open(&steps, name, err);
    if (!st)
        st = run_chain(base, patches, n_patches, path, options, &steps, ret, err);
    fmp_outdir_discard(&steps); /* never committed: the steps go with it */
    fmp_free(name);
    return st;
}
