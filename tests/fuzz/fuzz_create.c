/*
 * Fuzz target: two checkpoints, a patch between them, and back.  The first byte holds options, the
 * next four the length of the base; the base follows, then the target.  What is created must apply
 * to the target's bytes, and revert, where it can, to the base's.
 */
#include <string.h>

#include "fmpatch.h"
#include "fuzz_file.h"

static const char names[][20] = {"base.safetensors", "target.safetensors"};

static void must(bool right)
{
    if (!right)
        abort();
}

static void must_be(const char *name, const uint8_t *data, size_t len)
{
    FILE *f = fopen(fuzz_file_path(name), "rb");
    uint8_t *found = malloc(len + 1);

    must(f && found);
    must(fread(found, 1, len + 1, f) == len && (!len || !memcmp(found, data, len)));
    (void)fclose(f);
    free(found);
}

static void check_patch(fmp_store *const store[2], const uint8_t *const data[2],
                        const size_t len[2])
{
    const fmp_apply_options o = {.size = sizeof o, .n_threads = 1, .replace = true};
    const char *out = "out.safetensors";
    fmp_apply_result result;
    fmp_patch *p;

    must(!fmp_patch_open(fuzz_file_path("input.fmp"), NULL, &p, NULL));
    must(!fmp_verify(p, store[0], 1, (fmp_progress){0}, NULL));
    must(!fmp_apply(store[0], (const fmp_patch *const *)&p, 1, fuzz_file_path(out), &o, &result,
                    NULL));
    must(result.exact_files);
    must_be(out, data[1], len[1]);
    if (fmp_patch_summarize(p).reversible) {
        must(!fmp_revert(store[1], p, fuzz_file_path(out), &o, &result, NULL));
        must_be(out, data[0], len[0]);
    }
    fmp_patch_close(p);
}

static void create(fmp_store *const store[2], unsigned flags, const uint8_t *const data[2],
                   const size_t len[2])
{
    fmp_create_options o = {.size = sizeof o, .n_threads = 1, .replace = true};
    fmp_create_result result;

    o.set_values = flags & 1;
    o.reversible = flags & 2 && !o.set_values;
    o.no_check = flags & 4;
    o.width = flags & 8 ? 8u << (flags >> 5 & 3) : 0;
    if (fmp_create(store[0], store[1], fuzz_file_path("input.fmp"), &o, &result, NULL))
        return; /* a raw file of a part of a unit, say */
    must(!o.reversible || result.summary.reversible);
    check_patch(store, data, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    fmp_store_options o = {.size = sizeof o};
    fmp_store *store[2] = {NULL};
    const uint8_t *data[2] = {input + 5};
    size_t len[2];

    if (size < 5)
        return 0;
    o.raw = input[0] & 16;
    len[0] = input[1] | (size_t)input[2] << 8 | (size_t)input[3] << 16 | (size_t)input[4] << 24;
    if (len[0] > size - 5)
        return 0;
    data[1] = input + 5 + len[0];
    len[1] = size - 5 - len[0];
    for (int i = 0; i < 2; i++) {
        fuzz_file_write(names[i], data[i], len[i]);
        if (fmp_store_open(fuzz_file_path(names[i]), &o, &store[i], NULL))
            goto out;
    }
    create(store, input[0], data, len);

out:
    fmp_store_close(store[0]);
    fmp_store_close(store[1]);
    return 0;
}
