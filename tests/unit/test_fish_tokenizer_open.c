/*
 * What a directory must hold to be a BERT tokenizer, and what happens when memory is short.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "core/mem.h"
#include "fish_vocab.h"

/* ---- what is refused --- */

static void refuse(fmp_status want, const char *words)
{
    fish_tokenizer *const untouched = (fish_tokenizer *)&want;
    fish_tokenizer *t = untouched;
    fmp_error err = {0};

    assert_status(fish_tokenizer_open(dir, &t, &err), want, &err);
    assert_ptr_equal(t, untouched);
    if (!strstr(err.text, words))
        fail_msg("'%s' lacks '%s'", err.text, words);
    assert_status(fish_tokenizer_open(dir, &t, NULL), want, &err);
}

static void every_truncation_is_refused(void **state)
{
    char *text = json_text();
    char *vocab = vocab_text();
    const size_t len = strlen(vocab);
    static const char config[] = "{\"do_lower_case\": false}";

    (void)state;
    for (size_t n = 0; n < strlen(text); n++) {
        put("tokenizer.json", text, n);
        refuse(FMP_ECORRUPT, "tokenizer.json: line 1: ");
    }
    (void)unlink(path_of("tokenizer.json"));
    refuse(FMP_EIO, "neither tokenizer.json nor vocab.txt");
    for (size_t n = 0; n + 1 < len; n++) {
        put("vocab.txt", vocab, n);
        refuse(FMP_ECORRUPT, "vocab.txt: ");
    }
    put("vocab.txt", vocab, len - 1); /* without the last line's end */
    fish_tokenizer_free(open_dir());
    for (size_t n = 0; n + 1 < sizeof config; n++) {
        put("tokenizer_config.json", config, n);
        refuse(FMP_ECORRUPT, "tokenizer_config.json: line 1: ");
    }
    free(text);
    free(vocab);
}

/* One thing of a good tokenizer.json replaced by another. */
static void what_is_not_bert_is_refused(void **state)
{
    static const struct {
        const char *from, *to;
        fmp_status status;
        const char *words;
    } cases[] = {
        {"{\"version\":\"1.0\"", "{\"version\":\"2.0\"", FMP_ENOTSUP, "version 2.0, expected 1.0"},
        {"BertNormalizer", "Sequence", FMP_ENOTSUP, "normalizer is Sequence"},
        {"\"normalizer\":", "\"normal\":", FMP_ENOTSUP, "normalizer is missing"},
        {"\"clean_text\":true", "\"clean_text\":1", FMP_ECORRUPT, "clean_text: expected true or"},
        {"\"lowercase\":true", "\"lower\":true", FMP_ECORRUPT, "lowercase: expected true or false"},
        {"\"strip_accents\":null", "\"strip_accents\":0", FMP_ECORRUPT, "strip_accents: expected"},
        {"BertPreTokenizer", "Whitespace", FMP_ENOTSUP, "pre_tokenizer is Whitespace"},
        {"\"type\":\"BertPreTokenizer\"", "\"type\":7", FMP_ECORRUPT, "pre_tokenizer: expected"},
        {"\"type\":\"WordPiece\"", "\"type\":\"BPE\"", FMP_ENOTSUP, "model is BPE"},
        {"\"model\":{", "\"model\":[],\"old\":{", FMP_ECORRUPT, "model: expected an object"},
        {"\"unk_token\":", "\"unk\":", FMP_ECORRUPT, "expected unk_token"},
        {"\"unk_token\":\"[UNK]\"", "\"unk_token\":\"<unk>\"", FMP_ECORRUPT, "<unk> is not in"},
        {"word\":100", "word\":1001", FMP_ENOTSUP, "1001 characters, at most 1000"},
        {"word\":100", "word\":-1", FMP_ECORRUPT, "max_input_chars_per_word"},
        {"\"##\"", "\"#################################\"", FMP_ENOTSUP, "prefix of 33 bytes"},
        {"\"vocab\":{", "\"vocab\":[],\"old\":{", FMP_ECORRUPT, "model.vocab: expected an object"},
        {"\"un\":4", "\"un\":-4", FMP_ECORRUPT, "un: expected an id"},
        {"\"un\":4", "\"un\":2147483647", FMP_ECORRUPT, "un: expected an id"},
        {"\"un\":4", "\"un\":4.0", FMP_ECORRUPT, "un: expected an id"},
        {"\"un\":4", "\"un\":4,\"un\":4", FMP_ECORRUPT, "duplicate"},
        {"TemplateProcessing", "ByteLevel", FMP_ENOTSUP, "post_processor is ByteLevel"},
        {"\"single\":", "\"only\":", FMP_ECORRUPT, "single: expected a list of parts"},
        {"\"id\":\"A\"", "\"id\":\"C\"", FMP_ECORRUPT, "expected sequences A and B"},
        {"\"id\":\"A\"", "\"id\":\"B\"", FMP_ECORRUPT, "single: expected each of its sequences"},
        {"\"id\":\"B\"", "\"id\":\"A\"", FMP_ECORRUPT, "pair: expected each of its sequences once"},
        {"{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},", "", FMP_ECORRUPT,
         "single: expected each of its sequences once"},
        {"\"type_id\":1", "\"type_id\":-1", FMP_ECORRUPT, "an id and a type_id"},
        {"\"ids\":[30]", "\"ids\":30", FMP_ECORRUPT, "[CLS]: expected its ids"},
        {"\"ids\":[30]", "\"ids\":[\"x\"]", FMP_ECORRUPT, "[CLS]: expected an id"},
        {"\"ids\":[30]",
         "\"ids\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", FMP_ENOTSUP,
         "more than 32 parts"},
        {"\"added_tokens\":[", "\"added_tokens\":7,\"x\":[", FMP_ECORRUPT, "expected a list"},
        {"\"content\":\"<New>\"", "\"contents\":\"\"", FMP_ECORRUPT, "objects with a content"},
        {"\"id\":31", "\"id\":32", FMP_ECORRUPT, "<New> has id 32, expected 31"},
        {"{\"id\":3,", "{\"id\":4,", FMP_ECORRUPT, "[MASK] has id 4, in the vocabulary 3"},
        {"\"single_word\":false", "\"single_word\":0", FMP_ECORRUPT, "single_word: expected true"},
        {"\"lstrip\":true", "\"lstrip\":\"\"", FMP_ECORRUPT, "lstrip: expected true or false"},
        {"\"rstrip\":true", "\"rstrip\":[]", FMP_ECORRUPT, "rstrip: expected true or false"},
        {"\"normalized\":true", "\"normalized\":0", FMP_ECORRUPT, "normalized: expected true"},
        {"<New>", "\\u0301", FMP_ENOTSUP, "nothing is left of added token"},
        {"<New>", "\\ufffd", FMP_ECORRUPT, "has id 31, in the vocabulary 29"},
        {"<New>", "\\ufffd\\ufffd", FMP_ENOTSUP, "contains U+FFFD"},
        {"\"id\":27,\"content\":\"new\"", "\"id\":3,\"content\":\"[MASK]\"", FMP_ENOTSUP,
         "two added tokens read the same"},
        {"<New>", "\\u0000", FMP_ECORRUPT, "line 1"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = json_text();
        char *changed = calloc(1, 16384);
        const char *from = strstr(text, cases[i].from);

        assert_non_null(changed);
        if (!from)
            fail_msg("no %s", cases[i].from);
        (void)snprintf(changed, 16384, "%.*s%s%s", (int)(from - text), text, cases[i].to,
                       from + strlen(cases[i].from));
        put("tokenizer.json", changed, strlen(changed));
        refuse(cases[i].status, cases[i].words);
        free(changed);
        free(text);
    }
    put("tokenizer.json", "[]", 2);
    refuse(FMP_ECORRUPT, "tokenizer: expected an object");
}

static void a_vocabulary_must_be_whole(void **state)
{
    static const struct {
        const char *config, *words;
    } configs[] = {
        {"[]", "tokenizer config: expected an object"},
        {"{\"do_lower_case\": 1}", "do_lower_case: expected true or false"},
        {"{\"strip_accents\": \"no\"}", "strip_accents: expected true or false"},
        {"{\"tokenize_chinese_chars\": 0}", "tokenize_chinese_chars: expected true or false"},
        {"{\"cls_token\": 7}", "cls_token: expected a token"},
        {"{\"mask_token\": \"\"}", "mask_token: expected a token"},
        {"{\"sep_token\": \"<s>\"}", "<s> is not in the vocabulary"},
        {"{\"unk_token\": {\"content\": \"<s>\"}}", "<s> is not in the vocabulary"},
        {"{\"pad_token\": \"[CLS]\"}", "two added tokens read the same"},
    };
    fish_tokenizer *t;

    (void)state;
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        const bool same = strstr(configs[i].words, "the same") != NULL;

        put_vocab(configs[i].config);
        refuse(same ? FMP_ENOTSUP : FMP_ECORRUPT, configs[i].words);
    }
    (void)unlink(path_of("tokenizer_config.json"));
    put("vocab.txt", "[UNK]\n[CLS]\n[SEP]\n\xff\n", 20);
    refuse(FMP_ECORRUPT, "vocab.txt: line 4: expected UTF-8");
    /* White space at the end of a line is none of the piece; the last line of two is its id. */
    put("vocab.txt", "a\r\n[UNK]\n[SEP] \na\xc2\xa0\n", 20);
    refuse(FMP_ECORRUPT, "[CLS] is not in the vocabulary");
    put("vocab.txt", "a\r\n[UNK]\n[SEP] \na\xc2\xa0\n[CLS]", 25);
    t = open_dir();
    {
        int32_t ids[3], types[3];
        uint32_t n;
        fmp_error err;

        assert_status(fish_tokenizer_encode(t, "a", 1, NULL, 0, 3, ids, types, &n, &err), FMP_OK,
                      &err);
        assert_int_equal(n, 3);
        assert_int_equal(ids[0], 4);
        assert_int_equal(ids[1], 3);
        assert_int_equal(ids[2], 2);
    }
    fish_tokenizer_free(t);
}

static void a_file_of_another_kind_is_refused(void **state)
{
    (void)state;
    assert_int_equal(symlink(dir, path_of("vocab.txt")), 0);
    refuse(FMP_EIO, "vocab.txt: not a regular file");
    assert_int_equal(unlink(path_of("vocab.txt")), 0);
    assert_int_equal(symlink("/dev/null", path_of("tokenizer.json")), 0);
    refuse(FMP_EIO, "tokenizer.json: not a regular file");
    fish_tokenizer_free(NULL);
}

/* ---- memory --- */

static void sweep_open(long least)
{
    fish_tokenizer *t = NULL;
    fmp_error err;
    long k = 0;

    for (;; k++) {
        fmp_status st;

        fish_alloc_fail_at(k);
        st = fish_tokenizer_open(dir, &t, &err);
        fish_alloc_fail_at(-1);
        if (!st)
            break;
        assert_status(st, FMP_ENOMEM, &err);
        assert_null(t);
    }
    assert_true(k >= least);
    fish_tokenizer_free(t);
}

static void opening_survives_each_failed_allocation(void **state)
{
    (void)state;
    put_vocab("{\"do_lower_case\": true}");
    sweep_open(14);
    fish_tokenizer_free(open_json());
    sweep_open(11);
}

static void encoding_survives_each_failed_allocation(void **state)
{
    enum { LEN = 30000 };
    char *text = malloc(LEN);
    int32_t ids[8], types[8];
    fish_tokenizer *t = open_json();
    fmp_error err;
    long k = 0;

    (void)state;
    assert_non_null(text);
    memset(text, 'a', LEN);
    for (;; k++) {
        uint32_t n = 77;
        fmp_status st;

        fish_alloc_fail_at(k);
        st = fish_tokenizer_encode(t, text, LEN, text, LEN, 8, ids, types, &n, &err);
        fish_alloc_fail_at(-1);
        if (!st)
            break;
        assert_status(st, FMP_ENOMEM, &err);
        assert_int_equal(n, 77);
    }
    assert_int_equal(k, 8); /* 4096 bytes, doubled until 30000 fit, for each text */
    free(text);
    fish_tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_truncation_is_refused, clear),
        cmocka_unit_test_teardown(what_is_not_bert_is_refused, clear),
        cmocka_unit_test_teardown(a_vocabulary_must_be_whole, clear),
        cmocka_unit_test_teardown(a_file_of_another_kind_is_refused, clear),
        cmocka_unit_test_teardown(opening_survives_each_failed_allocation, clear),
        cmocka_unit_test_teardown(encoding_survives_each_failed_allocation, clear),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
