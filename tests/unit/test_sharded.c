/*
 * Sharded checkpoints: the map is believed in nothing that the shards do not confirm.
 */
#include "store_support.h"

#include "base/alloc.h"
#include "base/store.h"

#define INDEX "model.safetensors.index.json"

static const fmp_store_options lenient = {.size = sizeof lenient, .lenient = true};

static const char good[] = "{\"metadata\": {\"total_size\": 6, \"x\": [1.5]}, \"weight_map\": {\n"
                           "  \"b\": \"y.safetensors\",\n"
                           "  \"c\": \"y.safetensors\",\n"
                           "  \"a\": \"x.safetensors\"\n}, \"other\": null}\n";

/* x holds a, y holds c and b, in that order. */
static int make_shards(void **state)
{
    if (make_dir(state))
        return -1;
    put_shard("x.safetensors", "a", 2);
    put_safetensors("y.safetensors",
                    "{\"c\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                    "\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[1,4]}}",
                    4);
    return 0;
}

static void shards_come_in_byte_order(void **state)
{
    fmp_store *store;
    uint8_t got[3];
    fmp_error err;

    (void)state;
    put_text(INDEX, good);
    store = open_store(at(INDEX));
    assert_string_equal(store->driver->name, "safetensors");
    assert_false(store->is_dir);
    assert_int_equal(fmp_store_tensor_count(store), 3);
    assert_tensor(store, 0, "a", "U8", 1, 2);
    assert_tensor(store, 1, "c", "U8", 1, 1);
    assert_tensor(store, 2, "b", "U8", 1, 3);
    assert_int_equal(store->tensors[0].flags, 0);
    assert_int_equal(store->n_files, 3);
    assert_string_equal(store->files[0].name, "x.safetensors");
    assert_string_equal(store->files[1].name, "y.safetensors");
    assert_string_equal(store->files[2].name, INDEX);
    assert_int_equal(store->files[1].first_tensor, 1);
    assert_int_equal(store->files[1].n_tensors, 2);
    assert_false(store->files[1].side);
    assert_true(store->files[2].side);
    assert_int_equal(store->files[2].size, sizeof good - 1);
    assert_status(fmp_store_read(store, 2, 0, got, 3, &err), FMP_OK, &err);
    assert_int_equal(got[0], data_byte(1));
    fmp_store_close(store);
}

typedef struct verdict {
    const char *index;
    fmp_status want;
    const char *word;
} verdict;

#define MAP(entries) "{\"weight_map\":{" entries "}}"
#define FULL         "\"a\":\"x.safetensors\",\"b\":\"y.safetensors\",\"c\":\"y.safetensors\""
#define TO(file)     MAP("\"a\":\"" file "\"")

static const verdict verdicts[] = {
    {MAP(FULL), FMP_OK, NULL},
    {" " MAP(FULL) "\n\t ", FMP_OK, NULL},
    /* the map against the shards */
    {MAP(FULL ",\"d\":\"x.safetensors\""), FMP_ECORRUPT,
     "\"d\": expected in x.safetensors, found in no"},
    {MAP("\"a\":\"y.safetensors\",\"b\":\"y.safetensors\",\"c\":\"x.safetensors\""), FMP_ECORRUPT,
     "\"a\": expected in y.safetensors, found in x.safetensors"},
    {MAP("\"a\":\"x.safetensors\",\"b\":\"y.safetensors\""), FMP_ECORRUPT,
     "\"c\": expected in weight_map, found only in y.safetensors"},
    {MAP(FULL ",\"b\":\"y.safetensors\""), FMP_ECORRUPT, "\"b\": expected once"},
    {MAP("\"a\":\"gone.safetensors\""), FMP_EIO, "gone.safetensors"},
    /* where a shard may lie */
    {TO("../x.safetensors"), FMP_ECORRUPT, "below"},
    {TO("/x.safetensors"), FMP_ECORRUPT, "below"},
    {TO("a//x.safetensors"), FMP_ECORRUPT, "below"},
    {TO("./x.safetensors"), FMP_ECORRUPT, "below"},
    {TO("s/../x.safetensors"), FMP_ECORRUPT, "below"},
    {TO("..\\\\x.safetensors"), FMP_ECORRUPT, "below"},
    {TO("x.safetensors\\u0000"), FMP_ECORRUPT, "below"},
    {TO("x\\n.safetensors"), FMP_ECORRUPT, "below"},
    {TO(""), FMP_ECORRUPT, "below"},
    {TO("model.bin"), FMP_ENOTSUP, "convert"},
    {MAP("\"a\":\"x.safetensors\",\"b\":\"X.safetensors\""), FMP_ECORRUPT, "case"},
    /* what an index is */
    {"", FMP_ECORRUPT, INDEX},
    {"{}", FMP_ECORRUPT, "weight_map"},
    {"[]", FMP_ECORRUPT, INDEX},
    {"{\"weight_map\":[]}", FMP_ECORRUPT, INDEX},
    {MAP("\"a\":1"), FMP_ECORRUPT, INDEX},
    {MAP("\"a\":{\"f\":\"x.safetensors\"}"), FMP_ECORRUPT, INDEX},
    {"{\"weight_map\":{" FULL "},\"weight_map\":{}}", FMP_ECORRUPT, "twice"},
    {MAP(FULL) "{}", FMP_ECORRUPT, INDEX},
    {MAP(FULL ","), FMP_ECORRUPT, INDEX},
    {"{\"metadata\":[[[[1]]]],\"weight_map\":{" FULL "}}", FMP_ECORRUPT, INDEX},
};

static void every_rule_has_its_verdict(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++) {
        const verdict *v = &verdicts[i];

        put_text(INDEX, v->index);
        if (v->want)
            refuse(at(INDEX), NULL, v->want, v->word);
        else
            fmp_store_close(open_store(at(INDEX)));
    }
}

/* An empty map has no shard: a checkpoint of nothing. */
static void an_empty_map_is_nothing(void **state)
{
    fmp_store *store;

    (void)state;
    put_text(INDEX, MAP(""));
    store = open_store(at(INDEX));
    assert_int_equal(fmp_store_tensor_count(store), 0);
    assert_int_equal(fmp_store_find(store, "a", 1), UINT32_MAX);
    fmp_store_close(store);
}

static void lenient_takes_what_the_map_lacks(void **state)
{
    fmp_store *store = NULL;
    fmp_error err;

    (void)state;
    put_text(INDEX, MAP("\"a\":\"x.safetensors\",\"b\":\"y.safetensors\""));
    assert_status(fmp_store_open(at(INDEX), &lenient, &store, &err), FMP_OK, &err);
    assert_int_equal(fmp_store_tensor_count(store), 3);
    fmp_store_close(store);
}

static void a_name_in_two_shards_is_refused(void **state)
{
    (void)state;
    put_shard("p.safetensors", "a", 1);
    put_text(INDEX, MAP("\"a\":\"x.safetensors\",\"z\":\"p.safetensors\""));
    refuse(at(INDEX), NULL, FMP_ECORRUPT, "\"a\"", "x.safetensors", "p.safetensors");
    refuse(at(INDEX), &lenient, FMP_ECORRUPT, "\"a\"");
}

static void a_bad_shard_is_named(void **state)
{
    (void)state;
    put_text("q.safetensors", "nonsense");
    put_text(INDEX, MAP("\"a\":\"x.safetensors\",\"z\":\"q.safetensors\""));
    refuse(at(INDEX), NULL, FMP_ECORRUPT, "q.safetensors");
}

/* Shards may lie in a directory below, and behind links, as in a hub cache. */
static void shards_lie_below_and_behind_links(void **state)
{
    fmp_store *store;

    (void)state;
    put_dir("sub");
    put_dir("blobs");
    put_shard("blobs/0123", "a", 2);
    assert_int_equal(symlink("../blobs/0123", at("sub/w.safetensors")), 0);
    put_text(INDEX, MAP("\"a\":\"sub/w.safetensors\""));
    store = open_store(at(INDEX));
    assert_tensor(store, 0, "a", "U8", 1, 2);
    assert_string_equal(store->files[0].name, "sub/w.safetensors");
    fmp_store_close(store);
}

static void limits_are_kept(void **state)
{
    fmp_limits l = {.size = sizeof l, .max_files = 1};
    const fmp_store_options o = {.size = sizeof o, .limits = &l};

    (void)state;
    put_text(INDEX, good);
    refuse(at(INDEX), &o, FMP_ELIMIT, "limit");
    l = (fmp_limits){.size = sizeof l, .max_header = sizeof good - 2};
    refuse(at(INDEX), &o, FMP_ELIMIT, INDEX);
    l = (fmp_limits){.size = sizeof l, .max_tensors = 2};
    refuse(at(INDEX), &o, FMP_ELIMIT, "2 tensors");
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof good - 2; n++) {
        put_file(INDEX, good, n);
        refuse(at(INDEX), NULL, FMP_ECORRUPT, INDEX);
    }
    put_file(INDEX, good, sizeof good - 2);
    fmp_store_close(open_store(at(INDEX)));
}

static void every_failing_allocation_is_survived(void **state)
{
    (void)state;
    put_text(INDEX, good);
    for (long k = 0;; k++) {
        fmp_store *store = NULL;
        fmp_error err;
        fmp_status st;

        assert_true(k < 1000);
        fmp_alloc_fail_at(k);
        st = fmp_store_open(at(INDEX), NULL, &store, &err);
        fmp_alloc_fail_at(-1);
        if (!st) {
            assert_true(k > 20);
            fmp_store_close(store);
            break;
        }
        assert_status(st, FMP_ENOMEM, &err);
    }
}

/* More shards than are kept open: the others are opened for a read, and only if they are the same.
 */
static void many_shards_are_opened_when_read(void **state)
{
    enum { N = 300 };
    static char index[N * 60];
    size_t len = 0;
    unsigned n_open = 0;
    fmp_store *store;
    fmp_error err;
    uint8_t got;

    (void)state;
    len += (size_t)snprintf(index, sizeof index, "{\"weight_map\":{");
    for (unsigned i = 0; i < N; i++) {
        char file[32];
        char tensor[8];

        snprintf(file, sizeof file, "many-%03u.safetensors", i);
        snprintf(tensor, sizeof tensor, "t%u", i);
        put_shard(file, tensor, 1 + i % 7);
        len += (size_t)snprintf(index + len, sizeof index - len, "%s\"%s\":\"%s\"", i ? "," : "",
                                tensor, file);
    }
    snprintf(index + len, sizeof index - len, "}}");
    put_text(INDEX, index);
    store = open_store(at(INDEX));
    for (unsigned i = 0; i < N; i++) {
        n_open += store->files[i].in.open;
        assert_status(fmp_store_read(store, i, i % 7, &got, 1, &err), FMP_OK, &err);
        assert_int_equal(got, data_byte(i % 7));
    }
    assert_int_equal(n_open, 256);
    assert_status(fmp_store_read_file(store, N, 0, &got, 1, &err), FMP_OK, &err);
    assert_int_equal(got, '{');

    /* Another file of the same size under the name of a closed one. */
    put_shard("other", "t299", 1 + 299 % 7);
    assert_int_equal(rename(at("other"), at("many-299.safetensors")), 0);
    assert_int_equal(fmp_store_read(store, 299, 0, &got, 1, &err), FMP_EIO);
    assert_non_null(strstr(err.text, "many-299.safetensors"));
    assert_int_equal(unlink(at("many-299.safetensors")), 0);
    assert_int_equal(fmp_store_read(store, 299, 0, &got, 1, &err), FMP_EIO);
    /* An open one is read through its handle. */
    assert_int_equal(unlink(at("many-000.safetensors")), 0);
    assert_status(fmp_store_read(store, 0, 0, &got, 1, &err), FMP_OK, &err);
    fmp_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_come_in_byte_order),
        cmocka_unit_test(every_rule_has_its_verdict),
        cmocka_unit_test(an_empty_map_is_nothing),
        cmocka_unit_test(lenient_takes_what_the_map_lacks),
        cmocka_unit_test(a_name_in_two_shards_is_refused),
        cmocka_unit_test(a_bad_shard_is_named),
        cmocka_unit_test(shards_lie_below_and_behind_links),
        cmocka_unit_test(limits_are_kept),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(every_failing_allocation_is_survived),
        cmocka_unit_test(many_shards_are_opened_when_read),
    };

    return cmocka_run_group_tests(tests, make_shards, drop_dir);
}
