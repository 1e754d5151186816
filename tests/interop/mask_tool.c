/*
 * Writes a mask from lines, or prints the lines of a mask.  Knows the public header only.  A line
 * is one tensor, tab-separated: name; dimensions with commas between, or "-" for none; indices with
 * commas between, "-" for none or "all".
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fmpatch.h"

enum { MAX_RANK = 32 };

static int fail(const fmp_error *err)
{
    fprintf(stderr, "%s: %s\n", fmp_status_name(err->status), err->text);
    return fmp_exit_status(err->status);
}

/* Numbers with commas between, or "-", into a new array; their count, or SIZE_MAX for nonsense. */
static size_t read_numbers(const char *text, uint64_t **ret)
{
    size_t n = 0;

    *ret = malloc((strlen(text) + 1) * sizeof **ret);
    if (!*ret)
        return SIZE_MAX;
    while (strcmp(text, "-") != 0) {
        char *end;

        (*ret)[n++] = strtoull(text, &end, 10);
        if (end == text || (*end && *end != ','))
            return SIZE_MAX;
        if (!*end)
            break;
        text = end + 1;
    }
    return n;
}

static uint64_t product(const uint64_t *shape, size_t rank)
{
    uint64_t n = 1;

    for (size_t i = 0; i < rank; i++)
        n *= shape[i];
    return n;
}

/* Cuts the line up and adds its tensor. */
static fmp_status add_line(fmp_mask_writer *w, char *line, fmp_error *err)
{
    char *dims = strchr(line, '\t');
    char *list = dims ? strchr(dims + 1, '\t') : NULL;
    uint64_t *shape = NULL, *idx = NULL;
    size_t rank, n;
    fmp_status st = FMP_EUSAGE;

    *err = (fmp_error){.status = st, .text = "a line that is no tensor"};
    if (!list)
        return st;
    *dims++ = *list++ = '\0';
    list[strcspn(list, "\n")] = '\0';
    rank = read_numbers(dims, &shape);
    if (rank > MAX_RANK)
        goto out;
    if (strcmp(list, "all") == 0) {
        st = fmp_mask_writer_add(w, line, (uint32_t)rank, shape, NULL, product(shape, rank), err);
        goto out;
    }
    n = read_numbers(list, &idx);
    if (n != SIZE_MAX)
        st = fmp_mask_writer_add(w, line, (uint32_t)rank, shape, idx, n, err);
out:
    free(shape);
    free(idx);
    return st;
}

static int write_mask(const char *path)
{
    fmp_mask_writer *w;
    fmp_error err;
    char *line = NULL;
    size_t cap = 0;
    fmp_status st = fmp_mask_writer_new(path, NULL, &w, &err);

    if (st)
        return fail(&err);
    while (!st && getline(&line, &cap, stdin) > 0)
        st = add_line(w, line, &err);
    free(line);
    if (st)
        fmp_mask_writer_abort(w);
    else
        st = fmp_mask_writer_finish(w, NULL, &err);
    return st ? fail(&err) : 0;
}

static void print_numbers(const uint64_t *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        printf("%s%" PRIu64, i ? "," : "", v[i]);
    if (!n)
        putchar('-');
}

static fmp_status print_tensor(const fmp_patch *p, uint32_t i, fmp_error *err)
{
    const fmp_tensor_info t = fmp_patch_tensor_at(p, i).target;
    uint64_t *idx = NULL;
    uint64_t count;
    size_t n;
    fmp_status st = fmp_mask_count(p, i, &count, err);

    if (st)
        return st;
    idx = malloc(((size_t)count + 1) * sizeof *idx);
    if (!idx) {
        *err = (fmp_error){.status = FMP_ENOMEM, .text = "out of memory"};
        return FMP_ENOMEM;
    }
    st = fmp_mask_decode(p, i, idx, (size_t)count, &n, err);
    if (!st) {
        printf("%s\t", t.name);
        print_numbers(t.shape, t.rank);
        putchar('\t');
        print_numbers(idx, n);
        putchar('\n');
    }
    free(idx);
    return st;
}

static int read_mask(const char *path)
{
    fmp_patch *p;
    fmp_error err;
    fmp_status st = fmp_patch_open(path, NULL, &p, &err);

    if (st)
        return fail(&err);
    for (uint32_t i = 0; i < fmp_patch_summarize(p).n_tensors && !st; i++)
        st = print_tensor(p, i, &err);
    fmp_patch_close(p);
    return st ? fail(&err) : 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "write") == 0)
        return write_mask(argv[2]);
    if (argc == 3 && strcmp(argv[1], "read") == 0)
        return read_mask(argv[2]);
    fputs("usage: mask_tool write|read MASK\n", stderr);
    return 2;
}
