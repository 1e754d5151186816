/*
 * Texts and labels from CSV, TSV and JSON lines.
 */
#include "fish_scratch.h"

#include <pthread.h>
#include <sodium.h>

static fish_tokenizer *tokenizer;

static fmp_status try_open(const char *path, const fish_data_options *with, fish_data **ret,
                           fmp_error *err)
{
    fish_data_options o = with ? *with : (fish_data_options){0};

    o.tokenizer = tokenizer;
    return fish_data_open(path, &o, ret, err);
}

static fish_data *open_text(const char *name, const char *text, const fish_data_options *with)
{
    fish_data *d;
    fmp_error err;

    assert_status(try_open(scratch_text(name, text), with, &d, &err), FMP_OK, &err);
    return d;
}

static void assert_example(const fish_data *d, uint32_t i, const char *words, const char *label)
{
    assert_string_equal(scratch_words(d, i), words);
    assert_string_equal(fish_data_class(d, (uint32_t)fish_data_label(d, i)), label);
}

/* ---- formats ---- */

static void csv_reads_rfc4180(void **state)
{
    fish_data *d = open_text("a.csv",
                             "\xef\xbb\xbf\"text\",label\r\n"
                             "one two,x\r\n"
                             "\r\n"
                             "\"one, \"\"two\"\"\",\"y,\"\"z\"\n"
                             "\"three\r\n\nfour\",x\n"
                             ",x\n"
                             "\"\",x\n"
                             "zero,y",
                             NULL);

    (void)state;
    assert_int_equal(fish_data_kind_of(d), FISH_TEXT);
    assert_int_equal(fish_data_count(d), 6);
    assert_int_equal(fish_data_n_classes(d), 3);
    assert_example(d, 0, "one two", "x");
    assert_example(d, 1, "one , \" two \"", "y,\"z");
    assert_example(d, 2, "three four", "x");
    assert_example(d, 3, "", "x");
    assert_example(d, 4, "", "x");
    assert_example(d, 5, "zero", "y");
    fish_data_free(d);
}

/* A backslash and a quote are themselves; only tabs and line ends separate. */
static void tsv_has_no_quoting(void **state)
{
    fish_data *d = open_text("a.tsv",
                             "label\tid\tsentence\r\n"
                             "x\t1\t\"one\\n\r\n"
                             "\n"
                             "y\t2\tone, two\n"
                             "x\t3\t\n",
                             NULL);

    (void)state;
    assert_int_equal(fish_data_count(d), 3);
    assert_example(d, 0, "\" one \\ n", "x");
    assert_example(d, 1, "one , two", "y");
    assert_example(d, 2, "", "x");
    fish_data_free(d);
}

static void jsonl_reads_strings_and_numbers(void **state)
{
    fish_data *d = open_text("a.jsonl",
                             "{\"text\": \"one\\n\\u0074wo\", \"label\": \"x\", \"n\": [1, {}]}\n"
                             "  \n"
                             "{\"label\": 2, \"text\": \"one \\u0000 two\"}\r\n"
                             "{\"label\": 2.0, \"text\": \"\"}\n"
                             "{\"label\": -2.5, \"text\": \"three\"}\n"
                             "{\"label\": \"2\", \"text\": \"four\"}\n"
                             "{\"label\": -0.0, \"text\": \"\"}\n"
                             "{\"label\": 0, \"text\": \"\"}\n"
                             "{\"label\": 123456789012345.0, \"text\": \"\"}\n",
                             NULL);

    (void)state;
    assert_int_equal(fish_data_count(d), 8);
    assert_int_equal(fish_data_n_classes(d), 5);
    assert_example(d, 5, "", "0");
    assert_example(d, 6, "", "0");
    assert_example(d, 7, "", "123456789012345");
    assert_example(d, 0, "one two", "x");
    assert_example(d, 1, "one two", "2");
    assert_example(d, 2, "", "2");
    assert_example(d, 3, "three", "-2.5");
    assert_example(d, 4, "four", "2");
    fish_data_free(d);
}

typedef struct fault {
    const char *name;
    const char *text;
    fmp_status status;
    const char *says; /* a part of the error */
} fault;

static void assert_fault(const fault *f, const fish_data_options *o)
{
    fish_data *d = (fish_data *)&tokenizer;
    fmp_error err;
    const fmp_status st = try_open(scratch_text(f->name, f->text), o, &d, &err);

    assert_status(st, f->status, &err);
    assert_ptr_equal(d, &tokenizer); /* not written */
    if (!strstr(err.text, f->says) || !strstr(err.text, f->name))
        fail_msg("\"%s\" does not say \"%s\" and %s", err.text, f->says, f->name);
}

static void faults_name_line_and_reason(void **state)
{
    static const fault faults[] = {
        {"f.csv", "", FMP_ECORRUPT, "found none"},
        {"f.csv", "\xef\xbb\xbf", FMP_ECORRUPT, "found none"},
        {"f.csv", "text,label\n", FMP_ECORRUPT, "found none"},
        {"f.csv", "\xff\xfet\0e\0", FMP_ENOTSUP, "UTF-16"},
        {"f.csv", "text,label\none,x\ntwo\n", FMP_ECORRUPT, "line 3: expected 2 columns, found 1"},
        {"f.csv", "text,label\none,x,\n", FMP_ECORRUPT, "line 2: expected 2 columns, found 3"},
        {"f.csv", "text,label\n\n\"a\nb\",x\ntwo\n", FMP_ECORRUPT, "line 5: expected 2"},
        {"f.csv", "text,label\no\"ne\",x\n", FMP_ECORRUPT, "line 2: column 1: expected no quote"},
        {"f.csv", "text,label\none,\"x\" \n", FMP_ECORRUPT, "column 2: expected a comma"},
        {"f.csv", "text,label\none,x\n\"one,x\ntwo,x\n", FMP_ECORRUPT, "line 3: a quote"},
        {"f.csv", "text,label\none,x\ry\n", FMP_ECORRUPT, "carriage return"},
        {"f.csv", "text,label\none,x\ntwo,\n", FMP_ECORRUPT, "line 3: the label is empty"},
        {"f.csv", "text,label\none,\"x\ny\"\n", FMP_ECORRUPT, "control character"},
        {"f.csv", "text,label\none,\xff\n", FMP_ECORRUPT, "not UTF-8"},
        {"f.csv", "text,label,text\none,x,two\n", FMP_ECORRUPT, "2 columns are named text"},
        {"f.csv", "a,b,label\none,x,two\n", FMP_EUSAGE,
         "no column for the text; the file has: a, b"},
        {"f.csv", "a,text,b\none,x,two\n", FMP_EUSAGE, "no column for the label"},
        {"f.csv", "text\none\n", FMP_EUSAGE, "no column for the label"},
        {"f.tsv", "text\tlabel\none\tx\t\n", FMP_ECORRUPT, "expected 2 columns, found 3"},
        {"f.jsonl", "\n\n", FMP_ECORRUPT, "found none"},
        {"f.jsonl", "[1]\n", FMP_ECORRUPT, "line 1: expected a JSON object"},
        {"f.jsonl", "{\"text\": \"a\", \"label\": 1}\n{\"text\": 1, \"label\": 1}", FMP_ECORRUPT,
         "line 2: key text: expected a string, found something else"},
        {"f.jsonl", "{\"text\": \"a\", \"label\": 1}\n{\"label\": 1}", FMP_ECORRUPT,
         "line 2: key text: expected a string, found nothing"},
        {"f.jsonl", "{\"text\": \"a\", \"label\": true}\n", FMP_ECORRUPT, "a string or a number"},
        {"f.jsonl", "{\"text\": \"a\", \"label\": \"a\\u0000b\"}\n", FMP_ECORRUPT, "control"},
        {"f.jsonl", "{\"text\": \"a\", \"text\": \"b\", \"label\": 1}\n", FMP_ECORRUPT, "line 1"},
        {"f.jsonl", "{\"text\": \"\xff\", \"label\": 1}\n", FMP_ECORRUPT, "line 1, byte"},
        {"f.jsonl", "{\"text\": \"a\", \"label\": 1} {}\n", FMP_ECORRUPT, "line 1, byte"},
        {"f.jsonl", "{\"text\": \"a\",\n\"label\": 1}\n", FMP_ECORRUPT, "line 1"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        assert_fault(&faults[i], NULL);
}

static void labels_have_a_limit(void **state)
{
    char text[400] = "text,label\none,";
    fish_data *d;

    (void)state;
    memset(text + strlen(text), 'x', 255);
    d = open_text("long.csv", text, NULL);
    assert_int_equal(strlen(fish_data_class(d, 0)), 255);
    fish_data_free(d);
    text[strlen(text)] = 'x';
    assert_fault(&(fault){"long.csv", text, FMP_ECORRUPT, "longer than 255 bytes"}, NULL);
}

/* ---- columns ---- */

static void columns_are_found_by_name_or_place(void **state)
{
    static const struct {
        const char *text;
        const char *words;
        const char *label;
    } cases[] = {
        {"text,label\none,x\n", "one", "x"},
        {"label,text\nx,one\n", "one", "x"},
        {"a,b\none,x\n", "one", "x"},
        {"label,message\nx,one\n", "one", "x"},
        {"message,class\none,x\n", "one", "x"},
        {"v1,text\nx,one\n", "one", "x"},
        {"id,body,category\n7,one,x\n", "one", "x"},
        {"content,sentence,target,class\ntwo,one,y,x\n", "one", "x"},
        {"score,sentence1,sentence2\nx,one,two\n", "one | two", "x"},
        {"score,sentence1,sentence3\nx,one,two\n", "one", "x"},
        {"score,text,sentence2\nx,one,two\n", "one", "x"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fish_data *d = open_text("c.csv", cases[i].text, NULL);

        assert_example(d, 0, cases[i].words, cases[i].label);
        fish_data_free(d);
    }
}

static void columns_are_named_by_options(void **state)
{
    fish_data_options o = {.text = "b", .text2 = "text", .label = "c"};
    fish_data *d = open_text("c.csv", "text,b,c,label\none,two,x,y\n", &o);

    (void)state;
    assert_example(d, 0, "two | one", "x");
    fish_data_free(d);
    o = (fish_data_options){.label = "text"}; /* which is then not the text */
    d = open_text("c.csv", "text,content,id\nx,one,7\n", &o);
    assert_example(d, 0, "one", "x");
    fish_data_free(d);
    o = (fish_data_options){.text = "2", .label = "0", .no_header = true};
    d = open_text("c.csv", "text,label,\"two\"\nx,,three\n", &o);
    assert_int_equal(fish_data_count(d), 2);
    assert_example(d, 0, "two", "text");
    assert_example(d, 1, "three", "x");
    fish_data_free(d);
    d = open_text("c.tsv", "one\tx\ntwo\ty\n", &(fish_data_options){.no_header = true});
    assert_example(d, 0, "one", "x");
    fish_data_free(d);
    d = open_text("c.jsonl", "{\"q\": \"one\", \"a\": \"x\"}\n{\"a\": \"y\", \"q\": \"two\"}\n",
                  NULL);
    assert_example(d, 1, "two", "y"); /* two keys: by place in the first line, by name after it */
    fish_data_free(d);
    o = (fish_data_options){.text = "nothing"};
    assert_fault(&(fault){"c.csv", "text,label\none,x\n", FMP_EUSAGE,
                          "no column for the text: nothing; the file has: text, label"},
                 &o);
    o = (fish_data_options){.label = "nothing"};
    assert_fault(&(fault){"c.csv", "text,label\none,x\n", FMP_EUSAGE, "for the label: nothing"},
                 &o);
}

static void labels_may_be_missing_for_prediction(void **state)
{
    static const char *const classes[] = {"x", "y"};
    fish_data_options o = {.no_labels = true, .classes = classes, .n_classes = 2};
    fish_data *d = open_text("p.csv", "a\none\n\ntwo\n", &o);

    (void)state;
    assert_int_equal(fish_data_count(d), 3); /* an empty line is an example of a one-column file */
    assert_int_equal(fish_data_n_classes(d), 2);
    assert_example(d, 0, "one", "x");
    assert_example(d, 1, "", "x");
    assert_example(d, 2, "two", "x");
    fish_data_free(d);
    d = open_text("p.csv", "label,a\nunknown,one\n",
                  &o); /* not looked at, but known not the text */
    assert_example(d, 0, "one", "x");
    fish_data_free(d);
    o.no_header = true;
    d = open_text("p.csv", "\none\n", &o);
    assert_int_equal(fish_data_count(d), 2);
    assert_example(d, 0, "", "x");
    fish_data_free(d);
    o = (fish_data_options){.no_labels = true, .regression = true};
    d = open_text("p.jsonl", "{\"text\": \"one\"}\n", &o);
    assert_true(fish_data_value(d, 0) == 0);
    assert_int_equal(fish_data_n_classes(d), 1);
    fish_data_free(d);
}

/* ---- classes ---- */

static void assert_classes(const fish_data *d, const char *const *names, uint32_t n)
{
    assert_int_equal(fish_data_n_classes(d), n);
    for (uint32_t i = 0; i < n; i++)
        assert_string_equal(fish_data_class(d, i), names[i]);
}

static void classes_sort_as_numbers_or_bytes(void **state)
{
    static const char *const numbers[] = {"-1", "2", "9", "10"};
    static const char *const bytes[] = {"10", "2", "9", "B", "a", "\xc3\xa9"};
    fish_data *d = open_text("k.csv", "text,label\none,10\none,9\none,-1\none,2\none,9\n", NULL);

    (void)state;
    assert_classes(d, numbers, 4);
    assert_int_equal(fish_data_label(d, 0), 3);
    assert_int_equal(fish_data_label(d, 1), 2);
    assert_int_equal(fish_data_label(d, 2), 0);
    assert_int_equal(fish_data_label(d, 4), 2);
    fish_data_free(d);
    d = open_text("k.csv", "text,label\none,10\none,\xc3\xa9\none,a\none,9\none,B\none,2\n", NULL);
    assert_classes(d, bytes, 6);
    assert_int_equal(fish_data_label(d, 0), 0);
    assert_int_equal(fish_data_label(d, 1), 5);
    fish_data_free(d);
}

/* Many more classes than the table begins with, met in an order that is not theirs. */
static void many_classes_keep_their_labels(void **state)
{
    char *text = malloc(1 << 16);
    size_t len = (size_t)snprintf(text, 1 << 16, "text,label\n");
    fish_data *d;

    (void)state;
    for (unsigned i = 0; i < 2000; i++)
        len += (size_t)snprintf(text + len, (1 << 16) - len, "one,%u\n", i * 7919 % 1999);
    d = open_text("m.csv", text, NULL);
    assert_int_equal(fish_data_n_classes(d), 1999);
    for (unsigned i = 0; i < 2000; i++)
        assert_int_equal(fish_data_label(d, i), i * 7919 % 1999);
    fish_data_free(d);
    free(text);
}

static void classes_can_be_given(void **state)
{
    static const char *const names[] = {"spam", "ham", "other"};
    static const char *const twice[] = {"a", "b", "a"};
    static const char *const empty[] = {"a", ""};
    fish_data_options o = {.classes = names, .n_classes = 3};
    fish_data *d = open_text("g.csv", "text,label\none,ham\ntwo,spam\n", &o);
    fmp_error err;

    (void)state;
    assert_classes(d, names, 3);
    assert_int_equal(fish_data_label(d, 0), 1);
    assert_int_equal(fish_data_label(d, 1), 0);
    fish_data_free(d);
    assert_fault(&(fault){"g.csv", "text,label\none,ham\n\ntwo,eggs\n", FMP_EUSAGE,
                          "line 4: expected one of the 3 known classes, found 'eggs'"},
                 &o);
    o.classes = twice;
    assert_status(try_open(scratch_path("g.csv"), &o, &d, &err), FMP_EUSAGE, &err);
    assert_non_null(strstr(err.text, "twice: a"));
    o = (fish_data_options){.classes = empty, .n_classes = 2};
    assert_status(try_open(scratch_path("g.csv"), &o, &d, &err), FMP_EUSAGE, &err);
    assert_non_null(strstr(err.text, "class name 1 is empty"));
}

static void regression_reads_numbers(void **state)
{
    static const char *const bad[] = {"",  "nan",  "inf", "1e999",  "0x10", "1 2",  "one", "1,5",
                                      "e", "1.5x", "--1", "3.5e38", ".",    "1e+-", " "};
    const fish_data_options o = {.regression = true};
    fish_data *d = open_text("r.tsv", "text\tscore\none\t2.5\ntwo\t -1e-3 \nthree\t+7\n", &o);

    (void)state;
    assert_int_equal(fish_data_n_classes(d), 1);
    assert_true(fish_data_value(d, 0) == 2.5f && fish_data_value(d, 1) == -1e-3f &&
                fish_data_value(d, 2) == 7.0f);
    assert_int_equal(fish_data_label(d, 0), 0);
    fish_data_free(d);
    d = open_text("r.jsonl", "{\"text\": \"one\", \"score\": 0.1}\n", &o);
    assert_true(fish_data_value(d, 0) == 0.1f);
    fish_data_free(d);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[64];

        snprintf(text, sizeof text, "text\tscore\none\t1\ntwo\t%s\n", bad[i]);
        assert_fault(&(fault){"r.tsv", text, FMP_ECORRUPT, "line 3: expected a number"}, &o);
    }
}

/* ---- files ---- */

static void formats_go_by_name_unless_given(void **state)
{
    fish_data *d = open_text("n.ndjson", "{\"text\": \"one\", \"label\": 1}\n", NULL);
    fmp_error err;

    (void)state;
    fish_data_free(d);
    d = open_text("n.txt", "one\tx\n", &(fish_data_options){.format = "tsv", .no_header = true});
    assert_example(d, 0, "one", "x");
    fish_data_free(d);
    assert_status(try_open(scratch_path("n.txt"), NULL, &d, &err), FMP_EUSAGE, &err);
    assert_status(try_open(scratch_path("n.txt"), &(fish_data_options){.format = "xml"}, &d, &err),
                  FMP_EUSAGE, &err);
    assert_status(try_open(scratch_path("none.csv"), NULL, &d, &err), FMP_EIO, &err);
    assert_status(try_open(scratch_dir, &(fish_data_options){.format = "csv"}, &d, &err),
                  FMP_EUSAGE, &err);
    assert_status(fish_data_open(scratch_text("n.csv", "text,label\none,x\n"), NULL, &d, &err),
                  FMP_EUSAGE, &err); /* no tokenizer */
    assert_non_null(strstr(err.text, "tokenizer"));
}

static void digest_is_of_all_bytes(void **state)
{
    static const char text[] = "text,label\none,x\n\n"; /* the last line holds no record */
    fish_data *d = open_text("d.csv", text, NULL);
    unsigned char digest[32];
    char want[128] = "d.csv:blake2b:";

    (void)state;
    crypto_generichash(digest, sizeof digest, (const unsigned char *)text, strlen(text), NULL, 0);
    sodium_bin2hex(want + strlen(want), 65, digest, sizeof digest);
    assert_string_equal(fish_data_digest(d), want);
    fish_data_free(d);
}

static void texts_are_cut_at_max_tokens(void **state)
{
    fish_data *d = open_text("t.csv", "text,label\none two three four,x\n",
                             &(fish_data_options){.max_tokens = 5});
    fmp_error err;

    (void)state;
    assert_int_equal(fish_data_length(d, 0), 5);
    assert_string_equal(scratch_words(d, 0), "one two three");
    fish_data_free(d);
    assert_status(
        try_open(scratch_path("t.csv"), &(fish_data_options){.max_tokens = 65537}, &d, &err),
        FMP_EUSAGE, &err);
}

/* Records of all lengths around the reader's first 64 KiB, and one of several times that. */
static void records_may_lie_anywhere(void **state)
{
    const size_t cap = 1 << 20;
    char *text = malloc(cap);
    fmp_error err;

    (void)state;
    assert_non_null(text);
    for (size_t filler = 65480; filler < 65560; filler++) {
        size_t len = (size_t)snprintf(text, cap, "text,label\n\"two\",x\n\"one ");
        fish_data *d;

        memset(text + len, ' ', filler - len);
        len = filler;
        len += (size_t)snprintf(text + len, cap - len, "\"\"\",\"y\"\n\"\nthree\",x\nfour,y\n");
        if (filler == 65500) {
            memset(text + len, ' ', 300000);
            memcpy(text + len, "zero", 4);
            len += 300000;
            len += (size_t)snprintf(text + len, cap - len, ",x\n");
        }
        assert_status(try_open(scratch_file("w.csv", text, len), NULL, &d, &err), FMP_OK, &err);
        assert_int_equal(fish_data_count(d), filler == 65500 ? 5 : 4);
        assert_example(d, 0, "two", "x");
        assert_example(d, 1, "one \"", "y");
        assert_example(d, 2, "three", "x");
        assert_example(d, 3, "four", "y");
        if (filler == 65500)
            assert_example(d, 4, "zero", "x");
        fish_data_free(d);
    }
    free(text);
}

/* A last line of spaces fills the reader's buffer: ASan sees a byte read behind it. */
static void blank_lines_end_with_the_buffer(void **state)
{
    const size_t len = (size_t)1 << 16;
    char *text = malloc(len);
    fish_data *d;
    fmp_error err;
    int n;

    (void)state;
    assert_non_null(text);
    n = snprintf(text, len, "{\"text\": \"one\", \"label\": \"x\"}\n");
    memset(text + n, ' ', len - (size_t)n);
    assert_status(try_open(scratch_file("blank.jsonl", text, len), NULL, &d, &err), FMP_OK, &err);
    assert_int_equal(fish_data_count(d), 1);
    fish_data_free(d);
    free(text);
}

static void records_have_a_limit(void **state)
{
    const size_t len = ((size_t)16 << 20) + 100;
    char *text = malloc(len);
    fish_data *d;
    fmp_error err;

    (void)state;
    assert_non_null(text);
    memset(text, '\n', len);
    memcpy(text, "text,label\none,x\n\"", 18);
    assert_status(try_open(scratch_file("big.csv", text, len), NULL, &d, &err), FMP_ELIMIT, &err);
    assert_non_null(strstr(err.text, "line 3"));
    free(text);
}

static void changed_files_are_noticed(void **state)
{
    fish_data *d = open_text("s.csv", "text,label\none two,x\nthree,x\n", NULL);
    int32_t ids[128];
    int32_t types[128];
    uint32_t n = 77;
    fmp_error err;

    (void)state;
    (void)scratch_text("s.csv", "text,label\none\"two,x\nthree,x\n");
    assert_status(fish_data_tokens(d, 0, ids, types, &n, &err), FMP_ECORRUPT, &err);
    (void)scratch_text("s.csv", "text,label\n    two,x\nthree,x\n");
    assert_status(fish_data_tokens(d, 0, ids, types, &n, &err), FMP_EIO, &err);
    (void)scratch_text("s.csv", "text,label\none two,");
    assert_status(fish_data_tokens(d, 1, ids, types, &n, &err), FMP_EIO, &err);
    assert_int_equal(n, 77);
    assert_status(fish_data_tokens(d, 2, ids, types, &n, &err), FMP_EUSAGE, &err);
    fish_data_free(d);
}

/* ---- every length, every allocation, every thread ---- */

static const struct {
    const char *name;
    const char *text;
} samples[] = {
    {"v.csv", "\xef\xbb\xbftext,label\r\n\"one, \"\"two\"\"\n\",x\r\n\r\nthree,\"y\"\r\n"},
    {"v.tsv", "label\tsentence1\tsentence2\r\nx\tone\ttwo\r\ny\t\tthree\r\n"},
    {"v.jsonl",
     "{\"text\": \"one\\u00e9\", \"label\": \"x\"}\n{\"label\": 12, \"text\": \"two\"}\n"},
};

/* Whatever is cut off: an error of content, or data that can be read whole. */
static void every_truncation_is_an_error_or_whole(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof samples / sizeof *samples; s++) {
        unsigned n_ok = 0;

        for (size_t len = 0; len <= strlen(samples[s].text); len++) {
            const char *path = scratch_file(samples[s].name, samples[s].text, len);
            fish_data *d;
            fmp_error err;
            const fmp_status st = try_open(path, NULL, &d, &err);

            if (st) {
                assert_true(st == FMP_ECORRUPT || st == FMP_EUSAGE);
                assert_int_not_equal(len, strlen(samples[s].text));
                continue;
            }
            n_ok++;
            assert_in_range(fish_data_count(d), 1, 2);
            for (uint32_t i = 0; i < fish_data_count(d); i++)
                (void)scratch_words(d, i);
            fish_data_free(d);
        }
        assert_true(n_ok >= 2);
    }
}

static void every_failed_allocation_is_reported(void **state)
{
    static const char *const classes[] = {"x", "y", "12"};

    (void)state;
    for (size_t s = 0; s < 2 * sizeof samples / sizeof *samples; s++) {
        const char *path = scratch_text(samples[s / 2].name, samples[s / 2].text);
        const fish_data_options o = {.classes = s % 2 ? classes : NULL, .n_classes = 3};
        int32_t ids[128];
        int32_t types[128];
        uint32_t n;
        fish_data *d = NULL;
        fmp_error err;
        fmp_status st = FMP_ENOMEM;
        long k;

        for (k = 0; st; k++) {
            fish_alloc_fail_at(k);
            st = try_open(path, &o, &d, &err);
            fish_alloc_fail_at(-1);
            if (st)
                assert_status(st, FMP_ENOMEM, &err);
        }
        assert_true(k > 15);
        st = FMP_ENOMEM;
        for (k = 0; st; k++) {
            fish_alloc_fail_at(k);
            st = fish_data_tokens(d, 0, ids, types, &n, &err);
            fish_alloc_fail_at(-1);
            if (st)
                assert_status(st, FMP_ENOMEM, &err);
        }
        assert_true(k > 1);
        fish_data_free(d);
    }
}

typedef struct reader {
    const fish_data *d;
    uint32_t n_right;
} reader;

static void *read_all(void *ctx)
{
    reader *r = ctx;
    int32_t ids[128];
    int32_t types[128];
    uint32_t n;

    for (uint32_t i = 0; i < fish_data_count(r->d); i++) {
        const uint32_t e = (i * 37) % fish_data_count(r->d);

        /* Example e is "one" e % 7 times, then "two". */
        if (!fish_data_tokens(r->d, e, ids, types, &n, NULL) && n == 3 + e % 7 &&
            !strcmp(scratch_vocab[ids[n - 2]], "two"))
            r->n_right++;
    }
    return NULL;
}

static void any_thread_may_read(void **state)
{
    char *text = malloc(1 << 20);
    size_t len = (size_t)snprintf(text, 1 << 20, "text\tlabel\n");
    pthread_t threads[4];
    reader readers[4];
    fish_data *d;

    (void)state;
    for (unsigned i = 0; i < 2000; i++)
        len += (size_t)snprintf(text + len, (1 << 20) - len, "%.*s two\tx\n", (int)(i % 7) * 4,
                                "one one one one one one one ");
    d = open_text("th.tsv", text, NULL);
    for (int i = 0; i < 4; i++) {
        readers[i] = (reader){.d = d};
        assert_int_equal(pthread_create(&threads[i], NULL, read_all, &readers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(readers[i].n_right, 2000);
    }
    fish_data_free(d);
    free(text);
}

static int open_all(void **state)
{
    if (scratch_open(state))
        return -1;
    tokenizer = scratch_tokenizer();
    return 0;
}

static int close_all(void **state)
{
    fish_tokenizer_free(tokenizer);
    return scratch_close(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_reads_rfc4180),
        cmocka_unit_test(tsv_has_no_quoting),
        cmocka_unit_test(jsonl_reads_strings_and_numbers),
        cmocka_unit_test(faults_name_line_and_reason),
        cmocka_unit_test(labels_have_a_limit),
        cmocka_unit_test(columns_are_found_by_name_or_place),
        cmocka_unit_test(columns_are_named_by_options),
        cmocka_unit_test(labels_may_be_missing_for_prediction),
        cmocka_unit_test(classes_sort_as_numbers_or_bytes),
        cmocka_unit_test(many_classes_keep_their_labels),
        cmocka_unit_test(classes_can_be_given),
        cmocka_unit_test(regression_reads_numbers),
        cmocka_unit_test(formats_go_by_name_unless_given),
        cmocka_unit_test(digest_is_of_all_bytes),
        cmocka_unit_test(texts_are_cut_at_max_tokens),
        cmocka_unit_test(records_may_lie_anywhere),
        cmocka_unit_test(blank_lines_end_with_the_buffer),
        cmocka_unit_test(records_have_a_limit),
        cmocka_unit_test(changed_files_are_noticed),
        cmocka_unit_test(every_truncation_is_an_error_or_whole),
        cmocka_unit_test(every_failed_allocation_is_reported),
        cmocka_unit_test(any_thread_may_read),
    };

    return cmocka_run_group_tests(tests, open_all, close_all);
}
