/*
 * Fuzz target: any bytes as a policy, which then judges a small patch; and the same bytes as a
 * record of lineages.  What opens must judge.
 */
#include <stdlib.h>
#include <string.h>

#include "fmpatch.h"
#include "fuzz_file.h"
#include "lineage.h"

static fmp_patch *patch;
static fmp_store *base;

static void must(bool right)
{
    if (!right)
        abort();
}

static void release(void)
{
    fmp_patch_close(patch);
    fmp_store_close(base);
}

/* Two F32 tensors of two elements; in the target one of them differs. */
static void write_model(const char *name, uint8_t change)
{
    static const char header[] =
        "{\"layers.0.w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
        "\"lm_head.w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}";
    uint8_t file[8 + sizeof header - 1 + 16] = {sizeof header - 1};

    memcpy(file + 8, header, sizeof header - 1);
    memset(file + 8 + sizeof header - 1, 0x3f, 16);
    file[8 + sizeof header - 1] ^= change;
    fuzz_file_write(name, file, sizeof file);
}

static void prepare(void)
{
    const fmp_create_options o = {.size = sizeof o,
                                  .n_threads = 1,
                                  .replace = true,
                                  .manifest_json = "{\"lineage\":{\"id\":\"a\",\"sequence\":3}}"};
    fmp_store *target;
    char path[160];

    if (patch)
        return;
    write_model("base.safetensors", 0);
    write_model("target.safetensors", 1);
    must(!fmp_store_open(fuzz_file_path("base.safetensors"), NULL, &base, NULL));
    must(!fmp_store_open(fuzz_file_path("target.safetensors"), NULL, &target, NULL));
    (void)snprintf(path, sizeof path, "%s", fuzz_file_path("input.fmp"));
    must(!fmp_create(base, target, path, &o, NULL, NULL));
    fmp_store_close(target);
    must(!fmp_patch_open(path, NULL, &patch, NULL) && !atexit(release));
}

static void judge(const fmp_policy *p, const fmp_store *with)
{
    fmp_policy_options o = {.size = sizeof o, .n_threads = 1, .now = "2026-01-01T00:00:00Z"};
    fmp_policy_results *r;

    must(!fmp_policy_check(p, patch, with, &o, &r, NULL));
    for (uint32_t i = 0; i < fmp_policy_results_count(r); i++)
        must(fmp_policy_results_at(r, i).rule != NULL);
    must(!fmp_policy_results_verdict(r) == !fmp_policy_results_count(r));
    fmp_policy_results_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    fmp_policy *p;
    fmp_mark mark;
    fmp_error err;
    fmp_status st;

    prepare();
    fuzz_file_write("policy.json", data, len);
    fuzz_file_write("record.json", data, len);
    st = fmp_policy_open(fuzz_file_path("policy.json"), &p, &err);
    if (!st) {
        judge(p, NULL);
        judge(p, base);
        fmp_policy_close(p);
    } else {
        must(err.status == st && err.text[0]);
    }
    st = fmp_mark_read(fuzz_file_path("record.json"), "a", &mark, NULL);
    must(st == FMP_OK || st == FMP_ECORRUPT);
    return 0;
}
