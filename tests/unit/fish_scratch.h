/*
 * For the tests of libfish/data: a directory that is removed at the end, files in it, and a small
 * WordPiece vocabulary whose ids can be turned back into words.
 */
#ifndef FISH_TESTS_SCRATCH_H
#define FISH_TESTS_SCRATCH_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/mem.h"
#include "data/data.h"
#include "support.h"

static const char *const scratch_vocab[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "zero",
                                            "one",   "two",   "three", "four",  "##s",    ",",
                                            "\"",    "\\",    "n",     "."};

static char scratch_dir[64];
static char scratch_made[64][64];
static int scratch_n_made;

/* The path of a file there; good until the eighth call after this one. */
static inline const char *scratch_path(const char *name)
{
    static char paths[8][160];
    static int next;
    char *path = paths[next++ % 8];

    assert_true(snprintf(path, sizeof paths[0], "%s/%s", scratch_dir, name) < 160);
    return path;
}

static inline const char *scratch_file(const char *name, const void *data, size_t len)
{
    const char *path = scratch_path(name);
    FILE *f = fopen(path, "wb");
    int i = 0;

    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    while (i < scratch_n_made && strcmp(scratch_made[i], name) != 0)
        i++;
    if (i == scratch_n_made) {
        assert_true(i < 64);
        snprintf(scratch_made[scratch_n_made++], 64, "%s", name);
    }
    return path;
}

static inline const char *scratch_text(const char *name, const char *text)
{
    return scratch_file(name, text, strlen(text));
}

static inline int scratch_open(void **state)
{
    char vocab[512] = "";

    snprintf(scratch_dir, sizeof scratch_dir, "/tmp/fish-test-XXXXXX");
    if (!mkdtemp(scratch_dir))
        return -1;
    for (size_t i = 0; i < sizeof scratch_vocab / sizeof *scratch_vocab; i++)
        snprintf(vocab + strlen(vocab), sizeof vocab - strlen(vocab), "%s\n", scratch_vocab[i]);
    (void)scratch_text("vocab.txt", vocab);
    *state = NULL;
    return 0;
}

static inline int scratch_close(void **state)
{
    (void)state;
    for (int i = 0; i < scratch_n_made; i++)
        (void)unlink(scratch_path(scratch_made[i]));
    return rmdir(scratch_dir);
}

static inline fish_tokenizer *scratch_tokenizer(void)
{
    fish_tokenizer *t;
    fmp_error err;

    assert_status(fish_tokenizer_open(scratch_dir, &t, &err), FMP_OK, &err);
    return t;
}

/* The words of an example, "a b", or of a pair "a b | c"; the special tokens are checked. */
static inline const char *scratch_words(const fish_data *d, uint32_t example)
{
    static char text[4096];
    static int32_t ids[1024];
    static int32_t types[1024];
    uint32_t n;
    fmp_error err;

    assert_status(fish_data_tokens(d, example, ids, types, &n, &err), FMP_OK, &err);
    assert_int_equal(n, fish_data_length(d, example));
    assert_string_equal(scratch_vocab[ids[0]], "[CLS]");
    assert_string_equal(scratch_vocab[ids[n - 1]], "[SEP]");
    text[0] = 0;
    for (uint32_t i = 1; i + 1 < n; i++) {
        const bool middle = !strcmp(scratch_vocab[ids[i]], "[SEP]");

        assert_int_equal(types[i], strchr(text, '|') ? 1 : 0);
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i > 1 ? " " : "",
                 middle ? "|" : scratch_vocab[ids[i]]);
    }
    return text;
}

#endif
