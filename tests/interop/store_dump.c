/*
 * Prints the tensors of a checkpoint, one a line: name, dtype, shape, offset and bytes,
 * tab-separated. Knows the public header only.  The offset is the sum of what stands before, which
 * for one file is where the tensor lies in its data.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "fmpatch.h"

/* Tabs and newlines in names (which only --lenient lets in) must not break the lines. */
static void print_name(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)s[i];

        if (c < 0x20 || c == '\\' || c == 0x7f)
            printf("\\x%02x", c);
        else
            putchar(c);
    }
}

static void print_tensors(const fmp_store *store)
{
    const uint32_t n = fmp_store_tensor_count(store);
    uint64_t off = 0;

    for (uint32_t i = 0; i < n; i++) {
        const fmp_tensor_info t = fmp_store_tensor(store, i);

        print_name(t.name, t.name_len);
        printf("\t%s\t[", t.dtype);
        for (uint32_t k = 0; k < t.rank; k++)
            printf("%s%" PRIu64, k ? "," : "", t.shape[k]);
        printf("]\t%" PRIu64 "\t%" PRIu64 "\n", off, t.n_bytes);
        off += t.n_bytes;
    }
}

int main(int argc, char **argv)
{
    fmp_store_options options = {.size = sizeof options};
    fmp_store *store;
    fmp_error err;
    fmp_status st;
    int arg = 1;

    if (arg < argc && !strcmp(argv[arg], "--lenient")) {
        options.lenient = true;
        arg++;
    }
    if (arg + 1 != argc) {
        fprintf(stderr, "usage: store_dump [--lenient] CHECKPOINT\n");
        return 2;
    }
    st = fmp_store_open(argv[arg], &options, &store, &err);
    if (st) {
        fprintf(stderr, "%s: %s\n", fmp_status_name(st), err.text);
        return fmp_exit_status(st);
    }
    print_tensors(store);
    fmp_store_close(store);
    return ferror(stdout) || fflush(stdout) ? 5 : 0;
}
