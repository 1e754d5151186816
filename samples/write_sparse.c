/*
 * usage: write_sparse BASE PATCH.  Writes a patch from indices and new values, as a trainer of
 * sparse weights would: element 0 of the base's first tensor becomes all zero bits, and a tensor
 * "extra.bias" of two fp32 numbers is added.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fmpatch.h"

int main(int argc, char **argv)
{
    static const uint64_t index[] = {0};
    static const uint8_t zero[8] = {0}; /* room for an element of any dtype */
    static const uint64_t shape[] = {2};
    static const float bias[] = {0.5f, -0.5f};
    fmp_create_options options = {.size = sizeof options, .replace = true};
    fmp_create_result result;
    fmp_store *base = NULL;
    fmp_writer *writer = NULL;
    fmp_error err;
    fmp_status st;

    if (argc != 3) {
        fprintf(stderr, "usage: %s BASE PATCH\n", argv[0]);
        return 2;
    }
    st = fmp_store_open(argv[1], NULL, &base, &err);
    if (!st)
        st = fmp_writer_new(base, argv[2], &options, &writer, &err);
    if (!st)
        st = fmp_writer_set(writer, fmp_store_tensor(base, 0).name, index, zero, 1, &err);
    if (!st)
        st = fmp_writer_add(writer, "extra.bias", "F32", 1, shape, bias, &err);
    if (!st) {
        st = fmp_writer_finish(writer, &result, &err); /* frees the writer, whatever happens */
        writer = NULL;
    }
    if (!st)
        printf("%llu elements changed or new, %llu bytes\n",
               (unsigned long long)result.summary.n_changed,
               (unsigned long long)result.summary.file_size);
    else
        fprintf(stderr, "%s\n", err.text);
    fmp_writer_abort(writer);
    fmp_store_close(base);
    return fmp_exit_status(st);
}
