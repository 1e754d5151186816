/*
 * The change of one tensor, from two buffers and back into one: what a trainer sends to a server
 * that holds the weights in memory.  Prints the sizes; exits 0 when the result is the target, bit
 * for bit.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fmpatch.h"

enum { N = 1 << 20 };

int main(void)
{
    uint16_t *base = malloc(N * sizeof *base);
    uint16_t *target = malloc(N * sizeof *target);
    fmp_blob blob = {0};
    fmp_error err;
    int failed = 1;

    if (!base || !target)
        goto out;
    for (uint32_t i = 0; i < N; i++) { /* bf16 numbers near 0.02, one in a hundred a step away */
        const uint32_t random = i * 2654435761u;

        base[i] = (uint16_t)(0x3c80 + (random >> 24));
        target[i] = (uint16_t)(base[i] + (random % 100 == 0));
    }
    if (fmp_encode_tensor("BF16", base, target, N * sizeof *base, 0, &blob, &err) != FMP_OK ||
        fmp_decode_tensor("BF16", blob.data, blob.len, base, N * sizeof *base, &err) != FMP_OK) {
        fprintf(stderr, "%s\n", err.text);
        goto out;
    }
    printf("%u elements, %llu changed, %zu bytes of change\n", (unsigned)N,
           (unsigned long long)blob.n_changed, blob.len);
    failed = memcmp(base, target, N * sizeof *base) != 0;
out:
    fmp_blob_release(&blob);
    free(base);
    free(target);
    return failed;
}
