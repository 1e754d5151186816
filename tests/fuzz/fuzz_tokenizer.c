/*
 * Fuzz target: the first byte says what the rest is: 0, a tokenizer.json; 1, a vocab.txt and behind
 * a NUL byte a tokenizer_config.json; else two texts parted by a NUL byte, for a tokenizer that is
 * good.  Whatever opens must encode; ids are in the vocabulary; a text that is cut is the start of
 * the whole.
 */
#include <stdlib.h>
#include <string.h>

#include "data/tokenizer.h"
#include "fuzz_file.h"

#define MAX_IDS 4096

/* clang-format off */
static const char good[] =
    "{\"added_tokens\":["
    "{\"id\":7,\"content\":\"a\",\"single_word\":true,\"lstrip\":true,\"rstrip\":true,"
    "\"normalized\":false},"
    "{\"id\":8,\"content\":\"<X>\",\"single_word\":false,\"lstrip\":true,\"rstrip\":true,"
    "\"normalized\":true},"
    "{\"id\":3,\"content\":\"[M]\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
    "\"normalized\":false}],"
    "\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,"
    "\"handle_chinese_chars\":true,\"strip_accents\":null,\"lowercase\":true},"
    "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
    "\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"c\",1],\"sep\":[\"s\",2]},"
    "\"model\":{\"unk_token\":\"u\",\"continuing_subword_prefix\":\"##\","
    "\"max_input_chars_per_word\":20,\"vocab\":"
    "{\"u\":0,\"c\":1,\"s\":2,\"[M]\":3,\"##a\":4,\"##ab\":5,\"b\":6}}}";
/* clang-format on */

static void must(bool right)
{
    if (!right)
        abort();
}

/* On both sides memory of exactly the size needed, so that a sanitizer sees one step beyond. */
static uint32_t encode(const fish_tokenizer *t, const char *a, size_t a_len, const char *b,
                       size_t b_len, uint32_t max, int32_t *ids)
{
    int32_t *exact = malloc(max ? max * sizeof *exact : 1);
    int32_t *types = malloc(max ? max * sizeof *types : 1);
    uint32_t n = 0;

    must(exact && types);
    if (!fish_tokenizer_encode(t, a, a_len, b, b_len, max, exact, types, &n, NULL)) {
        must(n <= max);
        for (uint32_t i = 0; i < n; i++)
            must(exact[i] >= 0 && (uint32_t)exact[i] < fish_tokenizer_vocab(t) && types[i] >= 0);
        memcpy(ids, exact, n * sizeof *ids);
    }
    free(exact);
    free(types);
    return n;
}

static void encode_all(const fish_tokenizer *t, const char *text, size_t len)
{
    static int32_t whole[MAX_IDS], start[MAX_IDS];
    const char *nul = memchr(text, 0, len);
    const size_t a_len = nul ? (size_t)(nul - text) : len;
    const size_t b_len = nul ? len - a_len - 1 : 0;
    const char *b = nul ? nul + 1 : text;
    const uint32_t n = encode(t, text, a_len, NULL, 0, MAX_IDS, whole);

    for (uint32_t max = 0; max < 12; max++) {
        const uint32_t n_cut = encode(t, text, a_len, NULL, 0, max, start);

        must(n_cut <= n);
        (void)encode(t, text, a_len, b, b_len, max, start);
    }
    (void)encode(t, text, a_len, b, b_len, MAX_IDS, start);
}

/* [CLS] and the first ids of the whole text, then [SEP]. */
static void check_starts(const fish_tokenizer *t, const char *text, size_t len)
{
    static int32_t whole[MAX_IDS], start[MAX_IDS];
    const uint32_t n = encode(t, text, len, NULL, 0, MAX_IDS, whole);

    for (uint32_t max = 2; max < n && max < 40; max++) {
        must(encode(t, text, len, NULL, 0, max, start) == max);
        must(!memcmp(start, whole, (max - 1) * sizeof *start) && start[max - 1] == whole[n - 1]);
    }
}

static void open_and_encode(void)
{
    static const char text[] = "A b[CLS] [MASK]  \xc3\xa9t\xc3\xa9, \xe4\xb8\xad!\0un\xff##";
    fish_tokenizer *t;

    if (fish_tokenizer_open(fuzz_dir, &t, NULL))
        return;
    encode_all(t, text, sizeof text - 1);
    fish_tokenizer_free(t);
}

static void remove_files(void)
{
    (void)unlink(fuzz_file_path("tokenizer.json"));
    (void)unlink(fuzz_file_path("vocab.txt"));
    (void)unlink(fuzz_file_path("tokenizer_config.json"));
}

static void with_vocab(const char *text, size_t len)
{
    const char *nul = memchr(text, 0, len);
    const size_t vocab_len = nul ? (size_t)(nul - text) : len;

    fuzz_file_write("vocab.txt", text, vocab_len);
    if (nul)
        fuzz_file_write("tokenizer_config.json", nul + 1, len - vocab_len - 1);
    open_and_encode();
    remove_files();
}

static void with_texts(const char *text, size_t len)
{
    static fish_tokenizer *t;

    if (!t) {
        fuzz_file_write("tokenizer.json", good, sizeof good - 1);
        must(!fish_tokenizer_open(fuzz_dir, &t, NULL));
        remove_files();
    }
    encode_all(t, text, len);
    check_starts(t, text, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char *text;

    if (!len)
        return 0;
    if (!fuzz_dir[0]) {
        (void)fuzz_file_path("");
        (void)atexit(remove_files); /* before the directory */
    }
    text = malloc(len - 1 ? len - 1 : 1);
    must(text);
    memcpy(text, data + 1, len - 1);
    if (data[0] == 0) {
        fuzz_file_write("tokenizer.json", text, len - 1);
        open_and_encode();
        remove_files();
    } else if (data[0] == 1) {
        with_vocab(text, len - 1);
    } else {
        with_texts(text, len - 1);
    }
    free(text);
    return 0;
}
