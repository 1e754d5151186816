/*
 * WordPiece as BERT has it, on a small vocabulary: what becomes of a text, how a pair is cut.
 * tests/interop/check_tokenizer.py holds the same code to the tokenizers library.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "data/unicode.h"
#include "fish_vocab.h"

/* The pieces of a text, parted by blanks, between [CLS] and [SEP], which are checked. */
static const char *cut(const fish_tokenizer *t, const char *text, size_t len, uint32_t max)
{
    static char out[4096];
    int32_t ids[MAX_IDS];
    int32_t types[MAX_IDS];
    uint32_t n;
    fmp_error err;

    assert_true(max <= MAX_IDS);
    assert_status(fish_tokenizer_encode(t, text, len, NULL, 0, max, ids, types, &n, &err), FMP_OK,
                  &err);
    assert_true(n >= 2 && n <= max);
    assert_int_equal(ids[0], CLS);
    assert_int_equal(ids[n - 1], 2);
    out[0] = 0;
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(types[i], 0);
    for (uint32_t i = 1; i + 1 < n; i++)
        (void)snprintf(out + strlen(out), sizeof out - strlen(out), "%s%s", i > 1 ? " " : "",
                       ids[i] == NEW_ID ? "<New>" : pieces[ids[i]]);
    return out;
}

static void expect_n(const fish_tokenizer *t, const char *text, size_t len, const char *want)
{
    assert_string_equal(cut(t, text, len, MAX_IDS), want);
}

static void expect(const fish_tokenizer *t, const char *text, const char *want)
{
    expect_n(t, text, strlen(text), want);
}

static void the_longest_piece_is_taken_first(void **state)
{
    fish_tokenizer *t;

    (void)state;
    put_vocab(NULL);
    t = open_dir();
    assert_int_equal(fish_tokenizer_vocab(t), N_PIECES);
    expect(t, "", "");
    expect(t, "  \t\n ", "");
    expect(t, "unable", "un ##able");
    expect(t, "unaffable", "unaff ##able"); /* not un ##aff ##able, nor un ##affable */
    expect(t, "una", "un ##a");
    expect(t, "unaffx", "[UNK]"); /* one rest that has no piece makes the whole word unknown */
    expect(t, "able", "[UNK]");   /* is a piece inside of words only */
    expect(t, "bun", "[UNK]");    /* and un only at their start */
    expect(t, "a ab abab b", "a a ##b a ##b ##a ##b b");
    fish_tokenizer_free(t);
}

static void text_is_cleaned_as_bert_does(void **state)
{
    fish_tokenizer *t;

    (void)state;
    put_vocab(NULL);
    t = open_dir();
    expect(t, "UNABLE Un\xc3\x81\x62le", "un ##able un ##able");
    expect(t, "\xc3\x89T\xc3\x89 e\xcc\x81te\xcc\x81", "ete ete");
    expect(t, "a\xe4\xb8\xad\x62", "a \xe4\xb8\xad b");    /* ideographs stand alone */
    expect(t, "a\xe4\xb6\xbf\x61", "a [UNK] a");           /* U+4DBF, the end of a range of them */
    expect(t, "a\xe4\xb7\x80\x61", "[UNK]");               /* and the hexagram behind it */
    expect(t, "a!!b-a$", "a ! ! b - a $");                 /* ASCII punctuation, symbols too */
    expect(t, "a\xe2\x80\x94\x62", "a [UNK] b");           /* a dash of Unicode */
    expect(t, "u\xe2\x80\x8bn\x01\x7f", "un");             /* formats and controls vanish */
    expect_n(t, "u\0n", 3, "un");                          /* and so does U+0000 */
    expect(t, "u\x0bn a\x0c\x62", "un a ##b");             /* these are controls, not space */
    expect(t, "a\xc2\xa0\x62\xe3\x80\x80\x61", "a b a");   /* these are space */
    expect(t, "\xc4\xb0", "i");                            /* I with a dot: the dot is a mark */
    expect(t, "\xce\x91\xce\xa3", "\xce\xb1\xcf\x83");     /* no final sigma */
    expect(t, "\xea\xb0\x80", "\xe1\x84\x80\xe1\x85\xa1"); /* Hangul falls into its letters */
    expect(t, "x\xe3\x80\xae\xf0\x9d\x85\xa5", pieces[22]);
    expect(t, "x\xf0\x9d\x85\xa5\xe3\x80\xae", pieces[22]);
    expect(t, "[MASK] [mask]a[SEP]", "[MASK] [ mask ] a [SEP]");
    fish_tokenizer_free(t);
}

static void a_cased_vocabulary_keeps_case_and_accents(void **state)
{
    fish_tokenizer *t;

    (void)state;
    put_vocab("{\"do_lower_case\": false, \"unk_token\": {\"content\": \"[UNK]\"}}");
    t = open_dir();
    expect(t, "\xc3\x89t\xc3\xa9 ete Ete", "\xc3\x89t\xc3\xa9 ete [UNK]");
    fish_tokenizer_free(t);
    put_vocab("{\"strip_accents\": false, \"tokenize_chinese_chars\": false}");
    t = open_dir();
    expect(t, "\xc4\xb0", "i\xcc\x87"); /* its lower case is two characters */
    expect(t, "a\xe4\xb8\xad", "[UNK]");
    fish_tokenizer_free(t);
    put_vocab("{\"do_lower_case\": false, \"strip_accents\": true, \"mask_token\": \"$\"}");
    t = open_dir();
    expect(t, "\xc3\xa9te[MASK]", "ete [ [UNK] ]");
    expect(t, "a$b", "a $ b");
    fish_tokenizer_free(t);
}

static void words_are_unknown_beyond_a_hundred_characters(void **state)
{
    fish_tokenizer *t;
    char text[300];

    (void)state;
    put_vocab(NULL);
    t = open_dir();
    memset(text, 'a', sizeof text);
    for (size_t n = 98; n < sizeof text; n++) {
        char *exact = malloc(n);
        const char *got;

        assert_non_null(exact);
        memcpy(exact, text, n);
        got = cut(t, exact, n, MAX_IDS);
        if (n <= 100)
            assert_int_equal(strlen(got), 1 + (n - 1) * 4); /* a ##a ##a ... */
        else
            assert_string_equal(got, "[UNK]");
        free(exact);
    }
    fish_tokenizer_free(t);
}

static void bytes_that_are_no_utf8_count_as_replacement_characters(void **state)
{
    /* What Python's bytes.decode("utf-8", "replace") gives, R for U+FFFD. */
    static const struct {
        const char *bytes, *want;
    } cases[] = {
        {"a\x80\x62", "aRb"},
        {"\xc0\xaf", "RR"},
        {"\xe2\x82", "R"},
        {"\xe2(\xa1", "R(R"},
        {"\xed\xa0\x80", "RRR"},
        {"\xf0\x80\x80\x41", "RRRA"},
        {"\xf0\x9f\x98", "R"},
        {"\xf0\x9f\x98z", "Rz"},
        {"\xf4\x90\x80\x80", "RRRR"},
        {"\xf5\x80", "RR"},
        {"\xff\xfe", "RR"},
        {"\xe2\x82\xf0\x9f", "RR"},
        {"\xf0\x9f\xe2\x82\xac", "Re"},
        {"\xc3", "R"},
        {"\xc3\xc3\xa9", "Re"},
        {"\xef\xbf\xbd", "R"},
    };
    fish_tokenizer *t;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t len = strlen(cases[i].bytes);
        char *exact = malloc(len);
        const char *p = exact;
        char got[16];
        size_t n = 0;

        assert_non_null(exact);
        memcpy(exact, cases[i].bytes, len);
        while (p < exact + len) {
            const uint32_t c = fish_utf8_next(&p, exact + len);

            got[n++] = c == FISH_UC_REPLACEMENT ? 'R' : c < 0x80 ? (char)c : 'e';
        }
        got[n] = 0;
        assert_string_equal(got, cases[i].want);
        free(exact);
    }
    put_vocab(NULL);
    t = open_dir();
    expect(t, "u\x80n\xe2\x82 \xff", "un"); /* clean_text drops U+FFFD */
    fish_tokenizer_free(t);
}

static void every_code_point_is_written_and_read_again(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < 0x110000; c++) {
        char bytes[4];
        const char *p = bytes;
        const unsigned n = fish_utf8_put(c, bytes);
        const uint32_t got = fish_utf8_next(&p, bytes + n);

        if (c >= 0xd800 && c < 0xe000) {
            assert_int_equal(got, FISH_UC_REPLACEMENT);
        } else if (got != c || p != bytes + n) {
            fail_msg("U+%04X is read as U+%04X", c, got);
        }
    }
}

static void the_tables_know_their_characters(void **state)
{
    uint32_t parts[FISH_UC_MAX_PARTS];

    (void)state;
    assert_int_equal(fish_uc_flags('a'), FISH_UC_WORD);
    assert_int_equal(fish_uc_flags('_'), FISH_UC_WORD | FISH_UC_PUNCT);
    assert_int_equal(fish_uc_flags('\n'), FISH_UC_SPACE);
    assert_int_equal(fish_uc_flags(0x85), FISH_UC_SPACE | FISH_UC_OTHER);
    assert_int_equal(fish_uc_flags(0x301), FISH_UC_MARK | FISH_UC_WORD | FISH_UC_ORDERED);
    assert_int_equal(fish_uc_flags(0x3000), FISH_UC_SPACE);
    assert_int_equal(fish_uc_flags(0xe000), FISH_UC_OTHER);
    assert_int_equal(fish_uc_flags(0x10fffd), FISH_UC_OTHER);
    assert_int_equal(fish_uc_flags(0x10ffff), 0); /* unassigned: kept, as the library does */
    assert_int_equal(fish_uc_flags(0x2f800), FISH_UC_DECOMPOSES | FISH_UC_WORD);
    assert_int_equal(fish_uc_order(0x301), 230);
    assert_int_equal(fish_uc_order('a'), 0);
    assert_int_equal(fish_uc_decompose(0x1f82, parts), 4);
    assert_int_equal(parts[0], 0x3b1);
    assert_int_equal(parts[3], 0x345);
    assert_int_equal(fish_uc_decompose(0xac01, parts), 3);
    assert_int_equal(parts[2], 0x11a8);
    assert_int_equal(fish_uc_decompose(0xd7a3, parts),
                     3); /* the last syllable, of the last parts */
    assert_int_equal(parts[0], 0x1112);
    assert_int_equal(parts[1], 0x1175);
    assert_int_equal(parts[2], 0x11c2);
    assert_int_equal(fish_uc_decompose(0x2fa1d, parts), 1); /* the last of the table */
    assert_int_equal(parts[0], 0x2a600);
    assert_int_equal(fish_uc_decompose(0x10ffff, parts), 1);
    assert_int_equal(parts[0], 0x10ffff);
    assert_int_equal(fish_uc_lower(0x100, parts), 1);
    assert_int_equal(parts[0], 0x101);
    assert_int_equal(fish_uc_lower(0x101, parts), 1);
    assert_int_equal(parts[0], 0x101);
    assert_int_equal(fish_uc_lower(0x2126, parts), 1); /* the ohm sign: a distance below 0 */
    assert_int_equal(parts[0], 0x3c9);
    assert_int_equal(fish_uc_lower(0x10ffff, parts), 1);
    assert_int_equal(parts[0], 0x10ffff);
}

static void added_tokens_are_found_before_anything_else(void **state)
{
    fish_tokenizer *t;

    (void)state;
    t = open_json();
    assert_int_equal(fish_tokenizer_vocab(t), N_PIECES + 1);
    expect(t, "a [MASK] b", "a [MASK] b");
    expect(t, "a[MASK]b", "a [MASK] b");
    expect(t, "[[MASK]]", "[ [MASK] ]");
    expect(t, "<New>a <NEW>  a<nEw>", "<New> a <New> a <New>"); /* looked for in cleaned text */
    expect(t, "<new>", "[UNK] new [UNK]"); /* the raw text has had its turn before */
    expect(t, "<\xc3\x91\x65w>", "<New>");
    expect(t, "new news", "new [UNK]");
    expect(t, "new", "new");
    expect(t, "anew new.", "[UNK] new [UNK]");
    expect(t, "New", "new"); /* not the added token, but the same piece */
    expect(t, "\xcc\x81new", "new");
    fish_tokenizer_free(t);
}

static void expect_ids(const fish_tokenizer *t, const char *text, int32_t first, int32_t second)
{
    int32_t ids[8], types[8];
    uint32_t n;
    fmp_error err;

    assert_status(fish_tokenizer_encode(t, text, strlen(text), NULL, 0, 8, ids, types, &n, &err),
                  FMP_OK, &err);
    assert_int_equal(n, 4);
    assert_int_equal(ids[1], first);
    assert_int_equal(ids[2], second);
}

/* What is taken along is out of reach of tokens that begin or end with a blank. */
static void added_tokens_take_white_space_along(void **state)
{
    static const struct {
        const char *content, *lstrip, *rstrip, *normalized;
        int id;
    } tokens[] = {
        {"[MASK]", "true", "false", "false", 3}, {"[PAD]", "false", "true", "false", 0},
        {"b ", "false", "false", "true", 31},    {" b", "false", "false", "true", 32},
        {"<N", "false", "false", "false", 33},   {"<New>", "false", "false", "false", 34},
    };
    char *text = json_text();
    char *list = strstr(text, "\"added_tokens\":[") + strlen("\"added_tokens\":[");
    const char *rest = strstr(list, "],\"normalizer\"");
    char *changed = calloc(1, 8192);
    fish_tokenizer *t;

    (void)state;
    assert_non_null(changed);
    (void)snprintf(changed, 8192, "%.*s", (int)(list - text), text);
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
        (void)snprintf(changed + strlen(changed), 8192 - strlen(changed),
                       "%s{\"id\":%d,\"content\":\"%s\",\"single_word\":false,\"lstrip\":%s,"
                       "\"rstrip\":%s,\"normalized\":%s,\"special\":false}",
                       i ? "," : "", tokens[i].id, tokens[i].content, tokens[i].lstrip,
                       tokens[i].rstrip, tokens[i].normalized);
    (void)snprintf(changed + strlen(changed), 8192 - strlen(changed), "%s", rest);
    put("tokenizer.json", changed, strlen(changed));
    t = open_dir();
    expect_ids(t, "b !", 31, 19);
    expect_ids(t, "! b", 19, 32);
    expect_ids(t, "b [MASK]", 11, 3);
    expect_ids(t, "b [PAD]", 31, 0);
    expect_ids(t, "[PAD]\xe3\x80\x80 b", 0, 11);
    expect_ids(t, "[MASK] b", 3, 32);
    expect_ids(t, "<New><N", 34, 33); /* the longest of those that start there */
    expect_ids(t, "[PAD] [MASK]", 0, 3);
    fish_tokenizer_free(t);
    free(changed);
    free(text);
}

/* What a small max gives is the start of what a large one gives. */
static void a_cut_text_is_the_start_of_the_whole(void **state)
{
    static const char text[] =
        "unaffable [MASK] a<new> b! \xe4\xb8\xad\xe4\xb8\xad abab new un-able";
    int32_t all[MAX_IDS], ids[MAX_IDS], types[MAX_IDS];
    uint32_t n_all, n;
    fish_tokenizer *t = open_json();
    fmp_error err;

    (void)state;
    assert_status(
        fish_tokenizer_encode(t, text, sizeof text - 1, NULL, 0, MAX_IDS, all, types, &n_all, &err),
        FMP_OK, &err);
    assert_int_equal(n_all, 21);
    for (uint32_t max = 2; max < n_all + 3; max++) {
        assert_status(
            fish_tokenizer_encode(t, text, sizeof text - 1, NULL, 0, max, ids, types, &n, &err),
            FMP_OK, &err);
        assert_int_equal(n, max < n_all ? max : n_all);
        assert_memory_equal(ids, all, (n - 1) * sizeof *ids);
        assert_int_equal(ids[n - 1], 2);
    }
    for (uint32_t max = 0; max < 3; max++) {
        n = 77;
        if (max < 2)
            assert_status(fish_tokenizer_encode(t, "a", 1, NULL, 0, max, ids, types, &n, &err),
                          FMP_EUSAGE, &err);
        assert_status(fish_tokenizer_encode(t, "a", 1, "b", 1, max, ids, types, &n, &err),
                      FMP_EUSAGE, &err);
        assert_int_equal(n, 77);
    }
    fish_tokenizer_free(t);
}

/* The expected lengths were asked of the tokenizers library. */
static void a_pair_is_cut_at_its_longest_part(void **state)
{
    static const uint32_t cases[][5] = {
        /* of a, of b, max, left of a, left of b */
        {0, 0, 3, 0, 0},   {1, 1, 3, 0, 0},    {1, 1, 4, 0, 1},    {2, 1, 4, 1, 0},
        {2, 3, 8, 2, 3},   {5, 5, 10, 3, 4},   {9, 5, 10, 4, 3},   {5, 9, 10, 3, 4},
        {2, 9, 10, 2, 5},  {9, 2, 10, 5, 2},   {0, 9, 10, 0, 7},   {9, 0, 10, 7, 0},
        {50, 9, 11, 4, 4}, {50, 60, 12, 4, 5}, {60, 50, 12, 5, 4}, {4, 60, 12, 4, 5},
        {5, 60, 12, 4, 5}, {60, 5, 12, 5, 4},  {60, 60, 12, 4, 5},
    };
    fish_tokenizer *t;

    (void)state;
    put_vocab(NULL);
    t = open_dir();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_pair(t, cases[i][0], cases[i][1], cases[i][2], cases[i][3], cases[i][4]);
    fish_tokenizer_free(t);
}

static void templates_may_have_other_shapes(void **state)
{
    static const char bert[] = "{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",2],"
                               "\"cls\":[\"[CLS]\",30]},\"unread\":{\"model\":";
    char *text = json_text();
    char *post = strstr(text, "\"post_processor\":") + strlen("\"post_processor\":");
    char *model = strstr(text, ",\"model\":") + 1;
    char *changed = calloc(1, 8192);
    int32_t ids[8], types[8];
    uint32_t n;
    fish_tokenizer *t;
    fmp_error err;

    (void)state;
    assert_non_null(changed);
    (void)snprintf(changed, 8192, "%.*s%.*s,%s", (int)(post - text), text,
                   (int)(strstr(bert, ",\"unread") - bert), bert, model);
    put("tokenizer.json", changed, strlen(changed));
    t = open_dir();
    check_pair(t, 5, 9, 10, 3, 4);
    fish_tokenizer_free(t);

    (void)snprintf(changed, 8192, "%.*snull,%s", (int)(post - text), text, model);
    put("tokenizer.json", changed, strlen(changed));
    t = open_dir();
    assert_status(fish_tokenizer_encode(t, "a", 1, "b b", 3, 2, ids, types, &n, &err), FMP_OK,
                  &err);
    assert_int_equal(n, 2);
    assert_int_equal(ids[0], 9);
    assert_int_equal(ids[1], 11);
    assert_int_equal(types[0], 0);
    assert_int_equal(types[1], 1);
    assert_status(fish_tokenizer_encode(t, "a", 1, NULL, 0, 0, ids, types, &n, &err), FMP_OK, &err);
    assert_int_equal(n, 0);
    fish_tokenizer_free(t);
    free(changed);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(the_longest_piece_is_taken_first, clear),
        cmocka_unit_test_teardown(text_is_cleaned_as_bert_does, clear),
        cmocka_unit_test_teardown(a_cased_vocabulary_keeps_case_and_accents, clear),
        cmocka_unit_test_teardown(words_are_unknown_beyond_a_hundred_characters, clear),
        cmocka_unit_test_teardown(bytes_that_are_no_utf8_count_as_replacement_characters, clear),
        cmocka_unit_test(every_code_point_is_written_and_read_again),
        cmocka_unit_test(the_tables_know_their_characters),
        cmocka_unit_test_teardown(added_tokens_are_found_before_anything_else, clear),
        cmocka_unit_test_teardown(added_tokens_take_white_space_along, clear),
        cmocka_unit_test_teardown(a_cut_text_is_the_start_of_the_whole, clear),
        cmocka_unit_test_teardown(a_pair_is_cut_at_its_longest_part, clear),
        cmocka_unit_test_teardown(templates_may_have_other_shapes, clear),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
