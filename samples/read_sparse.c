/*
 * usage: read_sparse PATCH.  Prints every changed element of every tensor: name, index, and the
 * step in the order of bit patterns (ULP for floats), or the new bits where the patch holds those.
 */
#include <inttypes.h>
#include <stdio.h>

#include "fmpatch.h"

typedef struct printer {
    const char *name;
    uint64_t n;
} printer;

static bool print_run(void *ctx, const uint64_t *idx, const uint64_t *value, size_t n,
                      bool absolute)
{
    printer *p = ctx;

    for (size_t i = 0; i < n && p->n < 5; i++, p->n++) {
        if (absolute)
            printf("%s\t%" PRIu64 "\tbits %#" PRIx64 "\n", p->name, idx[i], value[i]);
        else /* zig-zag: 1 is a step down, 2 a step up, 3 two steps down, ... */
            printf("%s\t%" PRIu64 "\t%s%" PRIu64 "\n", p->name, idx[i], value[i] & 1 ? "-" : "+",
                   (value[i] + 1) / 2);
    }
    return p->n < 5; /* five of a tensor are enough to see */
}

int main(int argc, char **argv)
{
    fmp_patch *patch = NULL;
    fmp_error err;
    fmp_status st;

    if (argc != 2) {
        fprintf(stderr, "usage: %s PATCH\n", argv[0]);
        return 2;
    }
    st = fmp_patch_open(argv[1], NULL, &patch, &err);
    for (uint32_t i = 0; !st && i < fmp_patch_summarize(patch).n_tensors; i++) {
        const fmp_patch_tensor t = fmp_patch_tensor_at(patch, i);
        printer p = {.name = t.target.name};

        if (t.target.name)
            st = fmp_patch_read_sparse(patch, i, print_run, &p, &err);
    }
    fmp_patch_close(patch);
    if (st)
        fprintf(stderr, "%s\n", err.text);
    return fmp_exit_status(st);
}
