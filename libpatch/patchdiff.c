/*
 * fmp_diff: how two patches of one base differ in what they do.  How they are coded does not
 * matter.
 */
#include <jansson.h>
#include <stdatomic.h>

#include "base/alloc.h"
#include "base/status.h"
#include "beside.h"
#include "codec/residual.h"
#include "rebuild.h"

/* Added to by many threads: comes out the same in any order. */
typedef struct tally {
    _Atomic uint64_t n_only[2], n_same, n_other, n_apart, sum_distance, max_distance;
} tally;

typedef struct note {
    char *key;
    char *value[2];
} note;

struct fmp_diff {
    fmp_beside beside;
    const fmp_patch *p[2];
    tally *tally;
    fmp_diff_file *files;
    note *notes;
    fmp_diff_summary summary;
    fmp_progress progress;
    _Atomic uint64_t done; /* items */
};

static fmp_status no_memory(fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "diff: out of memory");
}

static uint64_t sum_of(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* ---- elements ---------------------------------------------------------------------------------
 */

/* The tensor at hand, and what is known of it before elements are looked at. */
typedef struct pair {
    const fmp_beside_slot *s;
    bool at_hand; /* both targets have it, alike in dtype and shape: elements lie side by side */
    bool one_ref; /* and what both leave alone is equal */
    unsigned bits;
    fmp_diff_counts sum;
} pair;

static uint32_t row_of(const fmp_diff *d, uint32_t tensor, unsigned side)
{
    return d->beside.rows[2 * (size_t)tensor + side];
}

static const fmp_row *target_row(const fmp_diff *d, uint32_t tensor, unsigned side)
{
    const uint32_t row = row_of(d, tensor, side);
    const fmp_row *r = row == FMP_NONE ? NULL : &d->p[side]->table.rows[row];

    return r && r->target_schema != FMP_NONE ? r : NULL;
}

/* Both targets have the tensor, of one dtype and shape. */
static bool same_kind(const fmp_diff *d, uint32_t tensor)
{
    return target_row(d, tensor, 0) && target_row(d, tensor, 1) &&
           fmp_same_shape(fmp_table_info(&d->p[0]->table, row_of(d, tensor, 0), true),
                          fmp_table_info(&d->p[1]->table, row_of(d, tensor, 1), true));
}

static pair pair_of(const fmp_diff *d, uint32_t tensor, const fmp_beside_slot *s)
{
    const fmp_lane *a = &s->lane[0];
    const fmp_lane *b = &s->lane[1];
    pair x = {.s = s, .bits = a->changes ? a->bits : b->bits};

    x.at_hand = same_kind(d, tensor);
    x.one_ref = x.at_hand && a->ref == b->ref && (a->type == b->type || !a->changes || !b->changes);
    return x;
}

static void add_distance(pair *x, uint64_t from, uint64_t to)
{
    const uint64_t mask = fmp_unit_mask(x->bits);
    const uint64_t d = (to - from) & mask;
    const uint64_t size = d >> (x->bits - 1) & 1 ? (0 - d) & mask : d;

    x->sum.n_apart++;
    x->sum.sum_distance = sum_of(x->sum.sum_distance, size);
    if (size > x->sum.max_distance)
        x->sum.max_distance = size;
}

static uint64_t step_of(const pair *x, uint32_t at)
{
    return fmp_unzigzag(x->s->value[at], x->bits);
}

static void add_only(pair *x, unsigned side, uint32_t at)
{
    x->sum.n_only[side]++;
    if (x->one_ref && x->s->way[at] == FMP_WAY_STEP)
        add_distance(x, 0, step_of(x, at));
}

static void add_both(pair *x, uint32_t a, uint32_t b)
{
    if (fmp_beside_alike(x->s, 0, a, 1, b)) {
        x->sum.n_same++;
        return;
    }
    x->sum.n_other++;
    if (x->one_ref && (x->s->way[a] | x->s->way[b]) == FMP_WAY_STEP)
        add_distance(x, step_of(x, a), step_of(x, b));
}

static void add_to(tally *t, const fmp_diff_counts *sum)
{
    uint64_t old = t->sum_distance;

    for (unsigned side = 0; side < 2; side++)
        t->n_only[side] += sum->n_only[side];
    t->n_same += sum->n_same;
    t->n_other += sum->n_other;
    t->n_apart += sum->n_apart;
    while (!atomic_compare_exchange_weak(&t->sum_distance, &old, sum_of(old, sum->sum_distance)))
        ;
    old = t->max_distance;
    while (old < sum->max_distance &&
           !atomic_compare_exchange_weak(&t->max_distance, &old, sum->max_distance))
        ;
}

static fmp_status compare_slice(void *ctx, uint32_t tensor, fmp_beside_slot *s, fmp_error *err)
{
    fmp_diff *d = ctx;
    pair x = pair_of(d, tensor, s);
    uint32_t a = s->first[0];
    uint32_t b = s->first[1];

    (void)err;
    while (a < s->first[1] && b < s->first[2]) {
        if (s->at[a] < s->at[b])
            add_only(&x, 0, a++);
        else if (s->at[b] < s->at[a])
            add_only(&x, 1, b++);
        else
            add_both(&x, a++, b++);
    }
    while (a < s->first[1])
        add_only(&x, 0, a++);
    while (b < s->first[2])
        add_only(&x, 1, b++);
    add_to(&d->tally[tensor], &x.sum);
    return FMP_OK;
}

static fmp_status work(void *ctx, fmp_pool *pool, uint64_t item, unsigned slot, fmp_error *err)
{
    fmp_diff *d = ctx;

    (void)pool;
    return fmp_beside_run(&d->beside, item, slot, compare_slice, d, err);
}

static fmp_status finish(void *ctx, uint64_t item, unsigned slot, fmp_error *err)
{
    fmp_diff *d = ctx;

    (void)item;
    (void)slot;
    (void)err;
    d->done++;
    return FMP_OK;
}

static fmp_status poll(void *ctx, fmp_error *err)
{
    const fmp_diff *d = ctx;

    if (d->progress.fn &&
        d->progress.fn(d->progress.ctx, fmp_beside_done(&d->beside, d->done), d->beside.stored))
        return fmp_fail(err, FMP_ECANCELED, FMP_NO_OFFSET, "canceled");
    return FMP_OK;
}

/* ---- tensors ----------------------------------------------------------------------------------
 */

/* Whether what the patches find in the base under this name is not the same. */
static bool other_base(const fmp_diff *d, uint32_t tensor)
{
    const fmp_digest *digest[2] = {NULL, NULL};

    for (unsigned side = 0; side < 2; side++) {
        const fmp_table *t = &d->p[side]->table;
        const uint32_t row = row_of(d, tensor, side);

        if (row != FMP_NONE && t->rows[row].base_schema != FMP_NONE)
            digest[side] = &t->digests[t->rows[row].base_digest];
    }
    return digest[0] && digest[1] && !fmp_digest_equal(digest[0], digest[1]);
}

static bool does_the_same(const fmp_diff *d, uint32_t tensor)
{
    const fmp_row *a = target_row(d, tensor, 0);
    const fmp_row *b = target_row(d, tensor, 1);
    const tally *t = &d->tally[tensor];

    if (!a && !b)
        return row_of(d, tensor, 0) != FMP_NONE && row_of(d, tensor, 1) != FMP_NONE;
    if (!same_kind(d, tensor))
        return false;
    if (other_base(d, tensor))
        return !t->n_only[0] && !t->n_only[1] && !t->n_other;
    return fmp_digest_equal(&d->p[0]->table.digests[a->target_digest],
                            &d->p[1]->table.digests[b->target_digest]);
}

fmp_diff_tensor fmp_diff_tensor_at(const fmp_diff *d, uint32_t tensor)
{
    fmp_diff_tensor x = {0};
    const tally *t;

    if (tensor >= d->beside.n_tensors)
        return x;
    x.name = fmp_beside_tensor(&d->beside, tensor).name;
    for (unsigned side = 0; side < 2; side++) {
        const uint32_t row = row_of(d, tensor, side);
        const fmp_patch_tensor info =
            row == FMP_NONE ? (fmp_patch_tensor){0} : fmp_patch_tensor_at(d->p[side], row);

        x.known[side] = row != FMP_NONE;
        x.in_target[side] = info.target.name != NULL;
        x.state[side] = info.state;
        x.source[side] = info.source;
    }
    t = &d->tally[tensor];
    x.same = does_the_same(d, tensor);
    if (x.same) { /* coded apart, maybe: what one says of an element is true of the other */
        x.counts.n_same = t->n_only[0] + t->n_only[1] + t->n_same + t->n_other;
        return x;
    }
    x.counts = (fmp_diff_counts){.n_only = {t->n_only[0], t->n_only[1]},
                                 .n_same = t->n_same,
                                 .n_other = t->n_other,
                                 .n_apart = t->n_apart,
                                 .sum_distance = t->sum_distance,
                                 .max_distance = t->max_distance};
    return x;
}

static void summarize_tensors(fmp_diff *d)
{
    fmp_diff_summary *s = &d->summary;

    s->n_tensors = d->beside.n_tensors;
    for (uint32_t i = 0; i < s->n_tensors; i++) {
        const fmp_diff_tensor x = fmp_diff_tensor_at(d, i);

        s->n_differing += !x.same;
        for (unsigned side = 0; side < 2; side++) {
            s->n_only[side] += x.in_target[side] && !x.in_target[!side];
            s->counts.n_only[side] += x.counts.n_only[side];
        }
        s->counts.n_same += x.counts.n_same;
        s->counts.n_other += x.counts.n_other;
        s->counts.n_apart += x.counts.n_apart;
        s->counts.sum_distance = sum_of(s->counts.sum_distance, x.counts.sum_distance);
        if (x.counts.max_distance > s->counts.max_distance)
            s->counts.max_distance = x.counts.max_distance;
    }
}

/* ---- files ------------------------------------------------------------------------------------
 */

/* What patch `side` does to its side file number i. */
static fmp_patch_file side_file(const fmp_diff *d, unsigned side, uint32_t i)
{
    return fmp_patch_file_at(d->p[side], d->p[side]->layout.target.n_files + i);
}

/* f[side]: NULL where it is not known. */
static fmp_diff_file file_of(const fmp_patch_file *const f[2])
{
    fmp_diff_file x = {.name = f[0] ? f[0]->name : f[1]->name};
    bool in[2] = {false, false};

    for (unsigned side = 0; side < 2; side++) {
        if (!f[side])
            continue;
        in[side] = f[side]->state != FMP_FILE_REMOVED;
        x.known[side] = true;
        x.state[side] = f[side]->state;
        x.size[side] = in[side] ? f[side]->size : 0;
    }
    x.same =
        in[0] == in[1] && (!in[0] || memcmp(f[0]->digest, f[1]->digest, sizeof f[0]->digest) == 0);
    return x;
}

/* Side files of both by name: each list is in order. */
static fmp_status compare_files(fmp_diff *d, fmp_error *err)
{
    const fmp_layout *a = &d->p[0]->layout;
    const fmp_layout *b = &d->p[1]->layout;
    fmp_diff_summary *s = &d->summary;
    uint32_t i = 0, k = 0;

    d->files = fmp_calloc((size_t)a->n_side + b->n_side + 1, sizeof *d->files);
    if (!d->files)
        return no_memory(err);
    while (i < a->n_side || k < b->n_side) {
        const int order = i == a->n_side   ? 1
                          : k == b->n_side ? -1
                                           : strcmp(a->side[i].name, b->side[k].name);
        const fmp_patch_file f = side_file(d, 0, i);
        const fmp_patch_file g = side_file(d, 1, k);
        const fmp_diff_file x = file_of(
            (const fmp_patch_file *const[]){order <= 0 ? &f : NULL, order >= 0 ? &g : NULL});

        i += order <= 0;
        k += order >= 0;
        s->n_differing_files += !x.same;
        d->files[s->n_files++] = x;
    }
    return FMP_OK;
}

/* Stored headers number `file`, made and compared piece by piece. */
static fmp_status same_headers(const fmp_diff *d, fmp_decoder dec[2], uint32_t file, uint8_t *buf,
                               bool *ret, fmp_error *err)
{
    const uint64_t len = d->p[0]->layout.target.files[file].header_len;

    for (uint64_t off = 0; off < len && *ret; off += FMP_LEAF_LEN) {
        const uint32_t n = (uint32_t)(len - off < FMP_LEAF_LEN ? len - off : FMP_LEAF_LEN);

        memset(buf, 0, 2 * (size_t)FMP_LEAF_LEN);
        for (unsigned side = 0; side < 2; side++) {
            bool touched;
            const fmp_status st =
                fmp_decoder_apply(&dec[side], d->p[side], FMP_DOMAIN_HEADERS, file, off, n,
                                  buf + side * (size_t)FMP_LEAF_LEN, FMP_FORWARD, &touched, err);

            if (st)
                return st;
        }
        *ret = memcmp(buf, buf + FMP_LEAF_LEN, n) == 0;
    }
    return FMP_OK;
}

static bool same_file(const fmp_layout_file *a, const fmp_layout_file *b, bool by_name)
{
    return (!by_name || strcmp(a->name, b->name) == 0) && strcmp(a->driver, b->driver) == 0 &&
           a->size == b->size && a->header_len == b->header_len && a->n_tensors == b->n_tensors &&
           a->header_stored == b->header_stored && a->hint.len == b->hint.len &&
           (!a->hint.len || memcmp(a->hint.data, b->hint.data, a->hint.len) == 0);
}

static bool same_order(const fmp_patch *a, const fmp_patch *b)
{
    const fmp_layout_side *x = &a->layout.target;
    const fmp_layout_side *y = &b->layout.target;

    for (uint32_t i = 0; i < x->n_order; i++) {
        if (strcmp(a->table.names + a->table.rows[x->order[i]].name_at,
                   b->table.names + b->table.rows[y->order[i]].name_at) != 0)
            return false;
    }
    return true;
}

/* All but the stored headers; the name of a single file is its user's. */
static bool same_lists(const fmp_diff *d)
{
    const fmp_layout_side *x = &d->p[0]->layout.target;
    const fmp_layout_side *y = &d->p[1]->layout.target;

    if (x->is_dir != y->is_dir || x->n_files != y->n_files || x->n_order != y->n_order)
        return false;
    for (uint32_t i = 0; i < x->n_files; i++) {
        if (!same_file(&x->files[i], &y->files[i], x->is_dir))
            return false;
    }
    return same_order(d->p[0], d->p[1]);
}

static fmp_status compare_layouts(fmp_diff *d, fmp_error *err)
{
    const fmp_layout_side *x = &d->p[0]->layout.target;
    fmp_decoder dec[2] = {{0}, {0}};
    bool same = same_lists(d), stored = false;
    uint8_t *buf = NULL;
    fmp_status st = FMP_OK;

    for (uint32_t i = 0; i < x->n_files; i++)
        stored |= x->files[i].header_stored;
    if (same && stored) {
        buf = fmp_malloc(2 * (size_t)FMP_LEAF_LEN);
        st = buf ? fmp_decoder_init(&dec[0], err) : no_memory(err);
        if (!st)
            st = fmp_decoder_init(&dec[1], err);
        for (uint32_t i = 0; i < x->n_files && !st && same; i++) {
            if (x->files[i].header_stored)
                st = same_headers(d, dec, i, buf, &same, err);
        }
    }
    d->summary.same_layout = same;
    fmp_decoder_release(&dec[0]);
    fmp_decoder_release(&dec[1]);
    fmp_free(buf);
    return st;
}

/* ---- notes ------------------------------------------------------------------------------------
 */

/* What the rest of the result tells. */
static bool is_told(const char *key)
{
    return strcmp(key, "base") == 0 || strcmp(key, "target") == 0 || strcmp(key, "changes") == 0;
}

static int append(const char *text, size_t len, void *buf)
{
    fmp_buf_put(buf, text, len);
    return ((fmp_buf *)buf)->bad ? -1 : 0;
}

/* NULL for a value that is missing, or when memory is short. */
static char *text_of(const json_t *value)
{
    fmp_buf buf = {0};
    char *text = NULL;

    if (value && json_dump_callback(value, append, &buf,
                                    JSON_SORT_KEYS | JSON_COMPACT | JSON_ENCODE_ANY) == 0)
        text = fmp_strndup((const char *)buf.data, buf.len);
    fmp_buf_release(&buf);
    return text;
}

static fmp_status add_note(fmp_diff *d, const char *key, const json_t *a, const json_t *b,
                           fmp_error *err)
{
    note *n = fmp_realloc(d->notes, d->summary.n_notes + 1, sizeof *n);

    if (!n)
        return no_memory(err);
    d->notes = n;
    n += d->summary.n_notes++;
    *n = (note){.key = fmp_strndup(key, strlen(key)), .value = {text_of(a), text_of(b)}};
    return n->key && !n->value[0] == !a && !n->value[1] == !b ? FMP_OK : no_memory(err);
}

/* Members of both, whose keys are in order in each. */
static fmp_status compare_members(fmp_diff *d, json_t *a, json_t *b, fmp_error *err)
{
    void *i = json_object_iter(a);
    void *k = json_object_iter(b);
    fmp_status st = FMP_OK;

    while ((i || k) && !st) {
        const int order = !i   ? 1
                          : !k ? -1
                               : strcmp(json_object_iter_key(i), json_object_iter_key(k));
        const char *key = json_object_iter_key(order <= 0 ? i : k);
        json_t *x = order <= 0 ? json_object_iter_value(i) : NULL;
        json_t *y = order >= 0 ? json_object_iter_value(k) : NULL;

        if (!is_told(key) && !(x && y && json_equal(x, y)))
            st = add_note(d, key, x, y, err);
        if (order <= 0)
            i = json_object_iter_next(a, i);
        if (order >= 0)
            k = json_object_iter_next(b, k);
    }
    return st;
}

static fmp_status compare_manifests(fmp_diff *d, fmp_error *err)
{
    json_t *a = json_loads(d->p[0]->manifest, 0, NULL);
    json_t *b = json_loads(d->p[1]->manifest, 0, NULL);
    const fmp_status st = a && b ? compare_members(d, a, b, err) : no_memory(err);

    json_decref(a);
    json_decref(b);
    return st;
}

/* ---- beginning and end ------------------------------------------------------------------------
 */

void fmp_diff_free(fmp_diff *d)
{
    if (!d)
        return;
    fmp_beside_release(&d->beside);
    fmp_free(d->tally);
    fmp_free(d->files);
    for (uint32_t i = 0; i < d->summary.n_notes; i++) {
        fmp_free(d->notes[i].key);
        fmp_free(d->notes[i].value[0]);
        fmp_free(d->notes[i].value[1]);
    }
    fmp_free(d->notes);
    fmp_free(d);
}

static fmp_status compare_elements(fmp_diff *d, const fmp_diff_options *how, fmp_error *err)
{
    fmp_pool_job job = {.work = work, .finish = finish, .poll = poll, .ctx = d};
    fmp_status st =
        fmp_beside_init(&d->beside, d->p, 2, how->shapes_only, true, how->n_threads, err);

    if (st)
        return st;
    d->tally = fmp_calloc(d->beside.n_tensors, sizeof *d->tally);
    if (!d->tally)
        return no_memory(err);
    job.n_items = d->beside.n_items;
    st = fmp_pool_run(&job, d->beside.n_slots, err);
    if (!st)
        summarize_tensors(d);
    return st;
}

fmp_status fmp_diff_new(const fmp_patch *first, const fmp_patch *second,
                        const fmp_diff_options *options, fmp_diff **ret, fmp_error *err)
{
    fmp_diff_options how = {0};
    fmp_diff *d = fmp_calloc(1, sizeof *d);
    fmp_diff_summary *s;
    fmp_status st;

    if (!d)
        return no_memory(err);
    s = &d->summary;
    if (options)
        memcpy(&how, options, options->size < sizeof how ? options->size : sizeof how);
    d->p[0] = first;
    d->p[1] = second;
    d->progress = how.progress;
    st = compare_elements(d, &how, err);
    if (!st)
        st = compare_files(d, err);
    if (!st)
        st = compare_layouts(d, err);
    if (!st)
        st = compare_manifests(d, err);
    if (st) {
        fmp_diff_free(d);
        return st;
    }
    fmp_beside_rest(&d->beside);
    s->size = sizeof *s;
    s->same_base = memcmp(first->summary.base_root, second->summary.base_root, 32) == 0;
    s->same_target = memcmp(first->summary.target_root, second->summary.target_root, 32) == 0;
    s->identical = s->same_base && s->same_target && s->same_layout && !s->n_differing_files;
    *ret = d;
    return FMP_OK;
}

/* ---- answers ----------------------------------------------------------------------------------
 */

fmp_diff_summary fmp_diff_summarize(const fmp_diff *d)
{
    return d->summary;
}

fmp_diff_file fmp_diff_file_at(const fmp_diff *d, uint32_t file)
{
    return file < d->summary.n_files ? d->files[file] : (fmp_diff_file){0};
}

fmp_diff_note fmp_diff_note_at(const fmp_diff *d, uint32_t number)
{
    const note *n = &d->notes[number];

    if (number >= d->summary.n_notes)
        return (fmp_diff_note){0};
    return (fmp_diff_note){.key = n->key, .value = {n->value[0], n->value[1]}};
}
