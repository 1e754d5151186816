/*
 * usage: apply_memory BASE PATCH TENSOR.  Reads one tensor of the base into memory, lays the patch
 * over it there, and prints how many bytes that changed: what a server does that swaps tasks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fmpatch.h"

int main(int argc, char **argv)
{
    fmp_store *base = NULL;
    fmp_patch *patch = NULL;
    uint8_t *before = NULL, *data = NULL;
    fmp_tensor_info info = {0};
    size_t n_changed = 0;
    uint32_t tensor, row;
    fmp_error err;
    fmp_status st;

    if (argc != 4) {
        fprintf(stderr, "usage: %s BASE PATCH TENSOR\n", argv[0]);
        return 2;
    }
    st = fmp_store_open(argv[1], NULL, &base, &err);
    if (!st)
        st = fmp_patch_open(argv[2], NULL, &patch, &err);
    if (st)
        goto out;
    tensor = fmp_store_find(base, argv[3], strlen(argv[3]));
    row = fmp_patch_find(patch, argv[3], strlen(argv[3]));
    info = fmp_store_tensor(base, tensor);
    if (!info.name || row == UINT32_MAX) {
        fprintf(stderr, "no tensor \"%s\"\n", argv[3]);
        st = FMP_EUSAGE;
        goto out_quiet;
    }
    before = malloc((size_t)info.n_bytes + 1);
    data = malloc((size_t)info.n_bytes + 1);
    if (!before || !data)
        abort();
    st = fmp_store_read(base, tensor, 0, before, (size_t)info.n_bytes, &err);
    if (st)
        goto out;
    memcpy(data, before, (size_t)info.n_bytes);
    st = fmp_patch_apply_tensor(patch, row, data, info.n_bytes, &err);
    for (size_t i = 0; !st && i < info.n_bytes; i++)
        n_changed += before[i] != data[i];
    if (!st)
        printf("%s: %zu of %llu bytes changed\n", info.name, n_changed,
               (unsigned long long)info.n_bytes);
out:
    if (st)
        fprintf(stderr, "%s\n", err.text);
out_quiet:
    free(before);
    free(data);
    fmp_patch_close(patch);
    fmp_store_close(base);
    return fmp_exit_status(st);
}
