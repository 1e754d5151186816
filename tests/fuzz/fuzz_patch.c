/*
 * Fuzz target: any bytes as a patch file.  One that opens is decoded to its last value, and what
 * the handle then says must be in itself consistent.
 */
#include <string.h>

#include "fmpatch.h"
#include "fuzz_file.h"

static void must(bool right)
{
    if (!right)
        abort();
}

/* Ways and steps are counted, or hidden by blocks that are coded given the base. */
static void check_counts(const fmp_patch_tensor *t, const fmp_patch_summary *s)
{
    if (t->n_up == UINT64_MAX)
        must(s->profile == FMP_PROFILE_COMPACT && t->n_down == UINT64_MAX &&
             t->max_residual == UINT64_MAX && t->n_changed <= t->target.n_bytes);
    else
        must(t->n_up + t->n_down <= t->target.n_bytes);
}

static void check_tensors(const fmp_patch *p, const fmp_patch_summary *s, bool scanned)
{
    for (uint32_t i = 0; i < s->n_tensors; i++) {
        const fmp_patch_tensor t = fmp_patch_tensor_at(p, i);
        const fmp_tensor_info *info = t.target.name ? &t.target : &t.base;

        must(info->name && strlen(info->name) == info->name_len);
        must(fmp_patch_find(p, info->name, info->name_len) == i);
        if (scanned && t.state != FMP_REMOVED)
            check_counts(&t, s);
    }
}

static void check_patch(fmp_patch *p)
{
    const fmp_patch_summary s = fmp_patch_summarize(p);
    bool scanned;

    must(s.n_unchanged + s.n_residual + s.n_whole + s.n_added + s.n_removed + s.n_alias + s.n_set ==
         s.n_tensors);
    must(s.n_base_tensors <= s.n_tensors && s.n_target_tensors <= s.n_tensors);
    must(s.reversible == !fmp_patch_irreversible_because(p));
    for (uint32_t i = 0; i < fmp_patch_file_count(p); i++)
        must(fmp_patch_file_at(p, i).name);
    must(strlen(fmp_patch_manifest(p)) > 1);
    scanned = !fmp_patch_scan(p, 1, (fmp_progress){0}, NULL);
    check_tensors(p, &s, scanned);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const fmp_limits limits = {
        .size = sizeof limits, .max_tensors = 1000, .max_files = 100, .max_index = 4 << 20};
    const fmp_patch_options o = {.size = sizeof o, .limits = &limits};
    fmp_patch *p;

    fuzz_file_write("input.fmp", data, len);
    if (!fmp_patch_open(fuzz_file_path("input.fmp"), &o, &p, NULL)) {
        check_patch(p);
        fmp_patch_close(p);
    }
    return 0;
}
