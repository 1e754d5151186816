/*
 * Prints the ids of texts: `tokenize DIR` with the tokenizer of DIR.  Numbers are 32 bits,
 * little-endian.  Each record of the input is max, the length of a text, the length of a second
 * text (0xffffffff: there is none), then their bytes.  Each answer is the number of ids n, n ids, n
 * types. At the end of the input, the bytes of text and the seconds they took are said on stderr.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "data/tokenizer.h"

#define NO_TEXT  UINT32_MAX
#define MAX_TEXT ((uint32_t)1 << 28)

static double seconds;
static uint64_t n_bytes;

static bool read_number(uint32_t *ret)
{
    unsigned char b[4];

    if (fread(b, 1, 4, stdin) != 4)
        return false;
    *ret = (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
    return true;
}

static void write_number(uint32_t n)
{
    for (int i = 0; i < 4; i++)
        putchar((int)(n >> 8 * i & 0xff));
}

/* A text of exactly len bytes, or NULL. */
static char *read_text(uint32_t len)
{
    char *text = len <= MAX_TEXT ? malloc(len ? len : 1) : NULL;

    if (text && fread(text, 1, len, stdin) == len)
        return text;
    free(text);
    return NULL;
}

static double now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool answer(const fish_tokenizer *t, const char *a, uint32_t a_len, const char *b,
                   uint32_t b_len, uint32_t max)
{
    int32_t *ids = malloc((max ? max : 1) * sizeof *ids);
    int32_t *types = malloc((max ? max : 1) * sizeof *types);
    uint32_t n = 0;
    fmp_error err;
    const double start = now();
    const bool done =
        ids && types && !fish_tokenizer_encode(t, a, a_len, b, b_len, max, ids, types, &n, &err);

    seconds += now() - start;
    n_bytes += a_len + b_len;
    write_number(n);
    for (uint32_t i = 0; i < n; i++)
        write_number((uint32_t)ids[i]);
    for (uint32_t i = 0; i < n; i++)
        write_number((uint32_t)types[i]);
    free(ids);
    free(types);
    return done;
}

/* One record.  False: the input is bad. */
static bool do_record(const fish_tokenizer *t, uint32_t max)
{
    uint32_t a_len;
    uint32_t b_len;
    char *a = NULL;
    char *b = NULL;
    bool done = false;

    if (max > MAX_TEXT || !read_number(&a_len) || !read_number(&b_len))
        return false;
    a = read_text(a_len);
    if (b_len != NO_TEXT)
        b = read_text(b_len);
    if (a && (b || b_len == NO_TEXT))
        done = answer(t, a, a_len, b, b_len == NO_TEXT ? 0 : b_len, max);
    free(a);
    free(b);
    return done;
}

int main(int argc, char **argv)
{
    fish_tokenizer *t;
    fmp_error err;
    uint32_t max;
    bool done = true;

    if (argc != 2) {
        fprintf(stderr, "usage: tokenize DIR <RECORDS\n");
        return 2;
    }
    if (fish_tokenizer_open(argv[1], &t, &err)) {
        fprintf(stderr, "%s: %s\n", fmp_status_name(err.status), err.text);
        return fmp_exit_status(err.status);
    }
    while (done && read_number(&max))
        done = do_record(t, max);
    fish_tokenizer_free(t);
    if (!done)
        fprintf(stderr, "tokenize: a record that is no record\n");
    else
        fprintf(stderr, "%llu bytes in %.3f s\n", (unsigned long long)n_bytes, seconds);
    return done && !fflush(stdout) ? 0 : 3;
}
