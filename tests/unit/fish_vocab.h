/*
 * For the tests of the tokenizer: a directory that holds a small vocabulary, as vocab.txt or as a
 * tokenizer.json with everything in it.
 */
#ifndef FISH_TESTS_VOCAB_H
#define FISH_TESTS_VOCAB_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/tokenizer.h"
#include "support.h"

#define MAX_IDS 256

/* The place in this list is the id.  [CLS] stands last, so that no shorter file has all it needs.
 */
static const char *const pieces[] = {
    "[PAD]", "[UNK]", "[SEP]", "[MASK]", "un", "unaff", "##aff", "##able", "##ffable", "a", "##a",
    "b", "##b", "ete", "\xc3\x89t\xc3\xa9", "i", "i\xcc\x87", "ss", "\xe4\xb8\xad", "!", "-", "$",
    /* a half note's stem before a tone mark: the order that U+1D165 and U+302E have when decomposed
     */
    "x\xf0\x9d\x85\xa5\xe3\x80\xae", "\xce\xb1\xcf\x83", "\xe1\x84\x80\xe1\x85\xa1", "[", "]",
    "new", "mask", "\xef\xbf\xbd", "[CLS]"};
#define N_PIECES ((int32_t)(sizeof pieces / sizeof *pieces))
#define CLS      (N_PIECES - 1)
#define NEW_ID   N_PIECES /* <New>, added behind the vocabulary */

static char dir[64];

static const char *path_of(const char *name)
{
    static char path[128];

    assert_true(snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path);
    return path;
}

static inline void put(const char *name, const char *text, size_t len)
{
    FILE *f = fopen(path_of(name), "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static inline int clear(void **state)
{
    (void)state;
    (void)unlink(path_of("tokenizer.json"));
    (void)unlink(path_of("vocab.txt"));
    (void)unlink(path_of("tokenizer_config.json"));
    return 0;
}

static inline int make_dir(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/fish-tokenizer-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static inline int remove_dir(void **state)
{
    (void)clear(state);
    return rmdir(dir);
}

/* The text of a vocab.txt; to free(). */
static inline char *vocab_text(void)
{
    char *text = calloc(1, 4096);

    assert_non_null(text);
    for (int32_t i = 0; i < N_PIECES; i++)
        (void)snprintf(text + strlen(text), 4096 - strlen(text), "%s\n", pieces[i]);
    return text;
}

static inline void put_vocab(const char *config)
{
    char *text = vocab_text();

    put("vocab.txt", text, strlen(text));
    free(text);
    if (config)
        put("tokenizer_config.json", config, strlen(config));
}

/* A tokenizer.json with everything in it; to free(). */
static inline char *json_text(void)
{
    static const char head[] =
        "{\"version\":\"1.0\",\"truncation\":{\"direction\":\"Right\",\"max_length\":5,"
        "\"strategy\":\"LongestFirst\",\"stride\":0},\"padding\":null,\"added_tokens\":["
        "{\"id\":3,\"content\":\"[MASK]\",\"single_word\":false,\"lstrip\":true,\"rstrip\":false,"
        "\"normalized\":false,\"special\":true},"
        "{\"id\":31,\"content\":\"<New>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":true,"
        "\"normalized\":true,\"special\":false},"
        "{\"id\":27,\"content\":\"new\",\"single_word\":true,\"lstrip\":false,\"rstrip\":false,"
        "\"normalized\":false,\"special\":false}],"
        "\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,"
        "\"handle_chinese_chars\":true,\"strip_accents\":null,\"lowercase\":true},"
        "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
        "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":["
        "{\"SpecialToken\":{\"id\":\"[CLS]\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_"
        "id\":0}},"
        "{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":0}}],\"pair\":["
        "{\"SpecialToken\":{\"id\":\"[CLS]\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_"
        "id\":0}},"
        "{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":0}},{\"Sequence\":{\"id\":\"B\",\"type_"
        "id\":1}},"
        "{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":1}}],\"special_tokens\":{"
        "\"[CLS]\":{\"id\":\"[CLS]\",\"ids\":[30],\"tokens\":[\"[CLS]\"]},"
        "\"[SEP]\":{\"id\":\"[SEP]\",\"ids\":[2],\"tokens\":[\"[SEP]\"]}}},"
        "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\","
        "\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":100,\"vocab\":{";
    char *text = calloc(1, 8192);

    assert_non_null(text);
    (void)snprintf(text, 8192, "%s", head);
    for (int32_t i = 0; i < N_PIECES; i++)
        (void)snprintf(text + strlen(text), 8192 - strlen(text), "%s\"%s\":%d", i ? "," : "",
                       pieces[i], i);
    (void)snprintf(text + strlen(text), 8192 - strlen(text), "}}}");
    return text;
}

static inline fish_tokenizer *open_dir(void)
{
    fish_tokenizer *t;
    fmp_error err;

    assert_status(fish_tokenizer_open(dir, &t, &err), FMP_OK, &err);
    return t;
}

static inline fish_tokenizer *open_json(void)
{
    char *text = json_text();

    put("tokenizer.json", text, strlen(text));
    free(text);
    return open_dir();
}

/* Texts of n_a and n_b pieces, cut to max: how many of each are left. */
static inline void check_pair(const fish_tokenizer *t, uint32_t n_a, uint32_t n_b, uint32_t max,
                              uint32_t want_a, uint32_t want_b)
{
    int32_t ids[MAX_IDS], types[MAX_IDS];
    char a[64], b[64];
    uint32_t n;
    fmp_error err;

    memset(a, 'a', sizeof a);
    memset(b, 'b', sizeof b);
    assert_status(fish_tokenizer_encode(t, a, n_a, b, n_b, max, ids, types, &n, &err), FMP_OK,
                  &err);
    assert_int_equal(n, want_a + want_b + 3);
    assert_int_equal(ids[0], CLS);
    assert_int_equal(ids[1 + want_a], 2);
    assert_int_equal(ids[n - 1], 2);
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(types[i], i >= 2 + want_a);
    for (uint32_t i = 0; i < want_a; i++)
        assert_string_equal(pieces[ids[1 + i]], i ? "##a" : "a");
    for (uint32_t i = 0; i < want_b; i++)
        assert_string_equal(pieces[ids[2 + want_a + i]], i ? "##b" : "b");
}

#endif
