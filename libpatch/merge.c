/*
 * fmp_merge(): the merged model is laid over the base as it is read, and fmp_create() makes the
 * patch of the two.  And fmp_merge_plan(), which only counts.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "assemble.h"
#include "base/alloc.h"
#include "base/status.h"
#include "codec/bits.h"
#include "merge_plan.h"
#include "overlay.h"

static fmp_status no_memory(fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "merge: out of memory");
}

/* ---- a window ---------------------------------------------------------------------------------
 */

static bool same_number(double a, double b)
{
    return a == b || (a != a && b != b);
}

/* The bits of a merged number: those that are there already, where it is what is there. */
static uint64_t bits_of(const fmp_merge_meeting *m, double merged, fmp_value_kind kind,
                        const uint8_t *at, unsigned width)
{
    if (m->n == 1 && same_number(merged, m->x[m->one]))
        return m->bits;
    if (same_number(merged, m->b))
        return fmp_load_le(at, width);
    return fmp_value_round(kind, merged);
}

static double merge_one(const fmp_merge_job *j, const fmp_merge_reader *r, uint32_t tensor,
                        uint32_t n_units, const fmp_merge_meeting *m)
{
    double f[FMP_MERGE_MAX];

    if (j->h.method == FMP_MERGE_SLERP)
        return j->line[tensor].c[0] * m->x[0] + j->line[tensor].c[1] * m->x[1];
    for (uint32_t i = 0; j->h.method == FMP_MERGE_FISHER && i < j->in.k; i++)
        f[i] = r->scores[(size_t)i * n_units + m->at];
    return fmp_merge_element(&j->h, m->b, m->x, m->t, f, j->zero_sign);
}

/* On an arc all elements move, those that nobody changed too. */
static void bend(const fmp_merge_job *j, uint32_t tensor, uint32_t from, uint32_t end,
                 fmp_value_kind kind, unsigned width, uint8_t *buf)
{
    const double c = j->line[tensor].c[0] + j->line[tensor].c[1];

    for (uint32_t at = from; at < end; at++) {
        uint8_t *p = buf + (size_t)at * width;

        fmp_store_le(p, fmp_value_round(kind, c * fmp_value(kind, fmp_load_le(p, width))), width);
    }
}

static void merge_numbers(const fmp_merge_job *j, const fmp_merge_reader *r, uint32_t tensor,
                          uint64_t off, uint32_t len, uint8_t *buf)
{
    const unsigned width = fmp_dtype_at(j->in.base->tensors[tensor].dtype)->width / 8u;
    const fmp_value_kind kind = fmp_merge_kind(j, tensor);
    const bool bent = j->line && !j->line[tensor].straight;
    fmp_merge_walk w = fmp_merge_begin(j, r, tensor, off, buf);
    uint32_t done = 0;
    fmp_merge_meeting m;

    while (fmp_merge_next(&w, &m)) {
        uint8_t *at = buf + (size_t)m.at * width;

        if (bent)
            bend(j, tensor, done, m.at, kind, width, buf);
        done = m.at + 1;
        fmp_store_le(at, bits_of(&m, merge_one(j, r, tensor, len / width, &m), kind, at, width),
                     width);
    }
    if (bent)
        bend(j, tensor, done, len / width, kind, width, buf);
}

/* The parent from which a tensor of no numbers comes. */
static uint32_t source_of(const fmp_merge_job *j, uint32_t tensor)
{
    uint32_t i = j->h.integers > 0 ? (uint32_t)j->h.integers - 1 : 0;

    while (j->h.integers < 0 && i < j->in.k && !j->in.touch[i][tensor])
        i++;
    return i;
}

static void take_from_one(const fmp_merge_job *j, const fmp_merge_reader *r, uint32_t tensor,
                          uint8_t *buf)
{
    const unsigned width = fmp_dtype_at(j->in.base->tensors[tensor].dtype)->width / 8u;
    const uint32_t i = source_of(j, tensor);

    for (uint32_t e = 0; i < j->in.k && e < r->list[i].n; e++)
        fmp_store_le(buf + (size_t)r->list[i].at[e] * width, r->list[i].bits[e], width);
}

/* `buf` holds the base's bytes of the window and becomes the merged ones. */
static fmp_status merge_window(const fmp_merge_job *j, fmp_merge_reader *r, uint32_t tensor,
                               uint64_t off, uint32_t len, uint8_t *buf, fmp_error *err)
{
    const unsigned width = fmp_dtype_at(j->in.base->tensors[tensor].dtype)->width / 8u;
    fmp_status st = fmp_merge_read(&j->in, r, tensor, off, len, buf, 0, j->in.k - 1, err);

    if (st)
        return st;
    if (!fmp_value_rounds(fmp_merge_kind(j, tensor))) {
        take_from_one(j, r, tensor, buf);
        return FMP_OK;
    }
    if (j->h.method == FMP_MERGE_FISHER)
        st = fmp_merge_read_scores(j, r, tensor, off / width, len / width, err);
    if (!st)
        merge_numbers(j, r, tensor, off, len, buf);
    return st;
}

/* Any bytes of a tensor: as windows of whole elements. */
static fmp_status merge_bytes(fmp_merge_job *j, fmp_merge_reader *r, uint32_t tensor, uint64_t off,
                              uint8_t *buf, size_t len, fmp_error *err)
{
    const unsigned width = fmp_dtype_at(j->in.base->tensors[tensor].dtype)->width / 8u;
    const uint32_t most = fmp_merge_window(j, tensor);
    fmp_status st = FMP_OK;

    for (uint64_t at = off; at < off + len && !st;) {
        const uint64_t first = at - at % width;
        const uint64_t stop = at - at % most + most;
        uint64_t end = off + len < stop ? off + len : stop;
        const uint64_t window_end = (end + width - 1) / width * width;
        const uint32_t n = (uint32_t)(window_end - first);

        if (first == at && window_end == end) {
            st = merge_window(j, r, tensor, first, n, buf + (at - off), err);
        } else {
            st = fmp_store_read(j->in.base, tensor, first, r->base, n, err);
            if (!st)
                st = merge_window(j, r, tensor, first, n, r->base, err);
            if (!st)
                memcpy(buf + (at - off), r->base + (at - first), (size_t)(end - at));
        }
        at = end;
    }
    return st;
}

static fmp_status lay_over(void *ctx, uint32_t tensor, uint64_t off, uint8_t *buf, size_t len,
                           fmp_error *err)
{
    fmp_merge_job *j = ctx;
    fmp_merge_reader *r;
    fmp_status st;

    if (!j->in.touched[tensor])
        return FMP_OK;
    r = fmp_merge_borrow(&j->in);
    st = merge_bytes(j, r, tensor, off, buf, len, err);
    fmp_merge_give_back(&j->in, r);
    return st;
}

/* ---- what cannot be averaged ------------------------------------------------------------------
 */

static fmp_status check_integers(const fmp_merge_job *j, fmp_error *err)
{
    for (uint32_t t = 0; t < j->in.base->n_tensors && !j->h.integers; t++) {
        const fmp_tensor_info info = fmp_store_tensor(j->in.base, t);

        if (j->in.touched[t] && !fmp_value_rounds(fmp_merge_kind(j, t)))
            return fmp_fail(
                err, FMP_EUSAGE, FMP_NO_OFFSET,
                "merge: tensor \"%s\" of %s cannot be averaged: say from which patch it "
                "is to come",
                info.name, info.dtype);
    }
    return FMP_OK;
}

static bool is_new(const fmp_patch *p, uint32_t row)
{
    const fmp_row *r = &p->table.rows[row];

    return r->base_schema == FMP_NONE && r->target_schema != FMP_NONE;
}

static fmp_status check_added(const fmp_merge_job *j, fmp_error *err)
{
    for (uint32_t i = 0; i < j->in.k && !j->h.added; i++) {
        const fmp_patch *p = j->in.p[i];

        for (uint32_t r = 0; r < p->table.n_rows; r++) {
            if (is_new(p, r))
                return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                                "%s: adds tensor \"%s\": say whose added tensors the result is to "
                                "have",
                                p->file.path, p->table.names + p->table.rows[r].name_at);
        }
    }
    return FMP_OK;
}

static fmp_status add_one(fmp_writer *w, const fmp_patch *p, uint32_t row, fmp_error *err)
{
    const fmp_tensor_info info = fmp_table_info(&p->table, row, true);
    uint8_t *data;
    fmp_status st;

    if (p->table.rows[row].state != FMP_ADDED)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                        "%s: tensor \"%s\" is a copy of another: it cannot be taken alone",
                        p->file.path, info.name);
    data = fmp_calloc((size_t)info.n_bytes, 1);
    if (!data)
        return no_memory(err);
    st = fmp_patch_apply_tensor(p, row, data, info.n_bytes, err);
    if (!st)
        st = fmp_writer_add(w, info.name, info.dtype, info.rank, info.shape, data, err);
    fmp_free(data);
    return st;
}

static fmp_status put_added(const fmp_merge_job *j, fmp_writer *w, fmp_error *err)
{
    const fmp_patch *p = j->h.added > 0 ? j->in.p[j->h.added - 1] : NULL;
    fmp_status st = FMP_OK;

    for (uint32_t r = 0; p && r < p->table.n_rows && !st; r++) {
        if (is_new(p, r))
            st = add_one(w, p, r, err);
    }
    return st;
}

/* ---- the recipe -------------------------------------------------------------------------------
 */

static const char *const methods[] = {
    "linear",      "task-arithmetic",  "ties", "dare-linear", "dare-ties",
    "breadcrumbs", "breadcrumbs-ties", "ram",  "slerp",       "prune",
    "fisher"};
static const char *const variants[] = {"paper", "peft", "mergekit"};
static const char *const rescales[] = {"inverse", "l1", "none"};

/* Decimals are strings in a manifest; these read back as the same number. */
static json_t *decimal(double d)
{
    char text[40];

    snprintf(text, sizeof text, "%.17g", d);
    return json_string(text);
}

static json_t *choice(int n, const char *none, const char *all)
{
    return n > 0 ? json_integer(n) : json_string(n < 0 ? all : none);
}

static json_t *recipe_of(const fmp_merge_how *h)
{
    json_t *weights = json_array();
    char seed[24];
    int bad = 0;

    snprintf(seed, sizeof seed, "%llu", (unsigned long long)h->seed);
    for (uint32_t i = 0; i < h->k; i++)
        bad |= json_array_append_new(weights, decimal(h->w[i]));
    if (bad) {
        json_decref(weights);
        return NULL;
    }
    return json_pack(
        "{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o}",
        "method", methods[h->method], "weights", weights, "lambda", decimal(h->lambda), "density",
        decimal(h->density), "gamma", decimal(h->gamma), "epsilon", decimal(h->epsilon), "t",
        decimal(h->t), "floor", decimal(h->floor), "ties", variants[h->ties], "rescale",
        rescales[h->rescale], "normalize", h->normalize ? "yes" : "no", "seed", seed,
        "fisher_floor", h->floor_all ? "all" : "target", "fisher_normalize",
        h->no_norm ? "none" : "l2", "integers", choice(h->integers, "refuse", "first"), "added",
        choice(h->added, "refuse", "skip"));
}

/* The user's manifest with kind, recipe, parents; freed with fmp_free(). */
static fmp_status make_manifest(const fmp_merge_job *j, const char *user, char **ret,
                                fmp_error *err)
{
    char *kind = NULL;
    json_t *all = NULL;
    char *text;
    size_t n;
    fmp_status st = fmp_manifest_with_kind(user, "merge", &kind, err);

    if (st)
        return st;
    all = json_loads(kind, 0, NULL);
    fmp_free(kind);
    if (!all || json_object_set_new(all, "recipe", recipe_of(&j->h)))
        st = no_memory(err);
    n = st ? 0 : json_dumpb(all, NULL, 0, JSON_SORT_KEYS | JSON_COMPACT);
    text = n ? fmp_calloc(n + 1, 1) : NULL;
    if (text)
        json_dumpb(all, text, n, JSON_SORT_KEYS | JSON_COMPACT);
    json_decref(all);
    if (!st && !text)
        st = no_memory(err);
    if (!st)
        st = fmp_manifest_derived(text, "merge", NULL, j->in.p, j->in.k, ret, err);
    fmp_free(text);
    return st;
}

/* ---- merge ------------------------------------------------------------------------------------
 */

static fmp_status begin(fmp_merge_job *j, const fmp_store *base, const fmp_patch *const *patches,
                        size_t k, const fmp_merge_options *options, unsigned n_threads,
                        fmp_error *err)
{
    fmp_status st = fmp_merge_resolve(options, k, &j->h, err);

    if (st)
        return st;
    j->n_threads = n_threads;
    j->scores =
        options && options->size > offsetof(fmp_merge_options, scores) ? options->scores : NULL;
    st = fmp_merge_parents_init(&j->in, base, patches, (uint32_t)k, n_threads,
                                j->h.method == FMP_MERGE_FISHER, err);
    if (!st)
        st = check_integers(j, err);
    return st ? st : check_added(j, err);
}

static fmp_status write_merged(fmp_merge_job *j, const char *path, const fmp_create_options *o,
                               fmp_create_result *ret, fmp_error *err)
{
    fmp_create_options how = *o;
    char *manifest = NULL;
    fmp_writer *w = NULL;
    fmp_status st = make_manifest(j, o->manifest_json, &manifest, err);

    how.manifest_json = manifest;
    if (!st)
        st = fmp_writer_new(j->in.base, path, &how, &w, err);
    if (!st) {
        fmp_writer_on_read(w, lay_over, j);
        fmp_writer_expect(w, j->in.p[0]);
        st = put_added(j, w, err);
    }
    if (st)
        fmp_writer_abort(w);
    else
        st = fmp_writer_finish(w, ret, err);
    fmp_free(manifest);
    return st;
}

fmp_status fmp_merge(const fmp_store *base, const fmp_patch *const *patches, size_t n_patches,
                     const char *path, const fmp_merge_options *options,
                     const fmp_create_options *output, fmp_create_result *ret, fmp_error *err)
{
    const fmp_create_options o = fmp_create_options_or_default(output);
    fmp_merge_job j = {0};
    fmp_status st;

    if (o.n_renames || o.width || o.set_values)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                        "renames, units and set values make no sense in a merge");
    j.progress = o.progress;
    st = begin(&j, base, patches, n_patches, options, fmp_create_threads(&o), err);
    if (!st)
        st = fmp_merge_prepare(&j, err);
    if (!st)
        st = write_merged(&j, path, &o, ret, err);
    fmp_merge_job_release(&j);
    return st;
}

/* ---- plan -------------------------------------------------------------------------------------
 */

void fmp_merge_forecast_release(fmp_merge_forecast *f)
{
    fmp_free(f->tensors);
    *f = (fmp_merge_forecast){0};
}

static void count_meeting(const fmp_merge_job *j, const fmp_merge_reader *r, uint32_t tensor,
                          uint32_t n_units, const fmp_merge_meeting *m, fmp_merge_overlap *o)
{
    const unsigned width = fmp_dtype_at(j->in.base->tensors[tensor].dtype)->width / 8u;
    const fmp_value_kind kind = fmp_merge_kind(j, tensor);
    const uint8_t *at = r->base + (size_t)m->at * width;
    bool up = false, down = false;

    for (uint32_t i = 0; i < j->in.k; i++) {
        up |= m->x[i] > m->b;
        down |= m->x[i] < m->b;
    }
    o->n_by[m->n < 4 ? m->n - 1 : 3]++;
    o->n_conflicts += up && down;
    if (fmp_value_rounds(kind))
        o->n_merged += bits_of(m, merge_one(j, r, tensor, n_units, m), kind, at, width) !=
                       fmp_load_le(at, width);
}

static fmp_status count_window(fmp_merge_job *j, fmp_merge_reader *r, uint32_t tensor, uint64_t off,
                               uint32_t len, fmp_merge_overlap *o, fmp_error *err)
{
    const unsigned width = fmp_dtype_at(j->in.base->tensors[tensor].dtype)->width / 8u;
    const fmp_value_kind kind = fmp_merge_kind(j, tensor);
    fmp_merge_meeting m;
    fmp_merge_walk w;
    fmp_status st = fmp_store_read(j->in.base, tensor, off, r->base, len, err);

    if (!st)
        st = fmp_merge_read(&j->in, r, tensor, off, len, r->base, 0, j->in.k - 1, err);
    if (!st && j->h.method == FMP_MERGE_FISHER && fmp_value_rounds(kind))
        st = fmp_merge_read_scores(j, r, tensor, off / width, len / width, err);
    if (st)
        return st;
    w = fmp_merge_begin(j, r, tensor, off, r->base);
    while (fmp_merge_next(&w, &m))
        count_meeting(j, r, tensor, len / width, &m, o);
    if (!fmp_value_rounds(kind) && source_of(j, tensor) < j->in.k)
        o->n_merged += r->list[source_of(j, tensor)].n;
    return FMP_OK;
}

typedef struct plan_job {
    fmp_merge_job *j;
    fmp_merge_overlap *tensors; /* of each tensor of the base */
} plan_job;

static fmp_status plan_work(void *ctx, fmp_pool *pool, uint64_t item, unsigned slot, fmp_error *err)
{
    plan_job *p = ctx;
    const uint32_t tensor = (uint32_t)item;
    const uint32_t most = fmp_merge_window(p->j, tensor);
    fmp_merge_overlap *o = &p->tensors[tensor];
    fmp_status st = FMP_OK;

    (void)pool;
    o->tensor = fmp_store_tensor(p->j->in.base, tensor);
    for (uint64_t off = 0; p->j->in.touched[tensor] && off < o->tensor.n_bytes && !st;
         off += most) {
        const uint64_t left = o->tensor.n_bytes - off;

        st = count_window(p->j, &p->j->in.reader[slot], tensor, off,
                          (uint32_t)(left < most ? left : most), o, err);
    }
    if (p->j->line && !p->j->line[tensor].straight) /* on an arc all of them move */
        o->n_merged = o->tensor.n_elements;
    return st;
}

/* An element costs what it costs the parents; the index is that of one patch. */
static uint64_t predict_bytes(const fmp_merge_job *j, uint64_t n_merged)
{
    uint64_t payload = 0, changed = 0, index = 0;

    for (uint32_t i = 0; i < j->in.k; i++) {
        const fmp_patch_summary *s = &j->in.p[i]->summary;

        payload += s->payload_size;
        changed += s->n_changed;
        if (s->file_size - s->payload_size > index)
            index = s->file_size - s->payload_size;
    }
    return index + (changed ? (uint64_t)((double)payload * (double)n_merged / (double)changed) : 0);
}

fmp_status fmp_merge_plan(const fmp_store *base, const fmp_patch *const *patches, size_t n_patches,
                          const fmp_merge_options *options, unsigned n_threads,
                          fmp_merge_forecast *ret, fmp_error *err)
{
    fmp_merge_job j = {0};
    plan_job p = {.j = &j, .tensors = fmp_calloc(base->n_tensors, sizeof *p.tensors)};
    const fmp_pool_job job = {.n_items = base->n_tensors, .work = plan_work, .ctx = &p};
    fmp_merge_forecast f = {.tensors = p.tensors};
    fmp_status st =
        p.tensors ? begin(&j, base, patches, n_patches, options, fmp_pool_threads(n_threads), err)
                  : no_memory(err);

    if (!st)
        st = fmp_merge_prepare(&j, err);
    if (!st)
        st = fmp_pool_run(&job, j.n_threads, err);
    for (uint32_t t = 0; t < base->n_tensors && !st; t++) {
        const fmp_merge_overlap o = p.tensors[t];
        const uint64_t n = o.n_by[0] + o.n_by[1] + o.n_by[2] + o.n_by[3];

        f.n_changed += n;
        f.n_merged += o.n_merged;
        if (n)
            f.tensors[f.n_tensors++] = o;
    }
    f.n_bytes = st ? 0 : predict_bytes(&j, f.n_merged);
    fmp_merge_job_release(&j);
    if (st)
        fmp_merge_forecast_release(&f);
    else
        *ret = f;
    return st;
}
