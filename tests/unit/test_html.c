/*
 * Pages and pictures: foreign text can neither leave its place nor lie about its order, whatever it
 * is; sums on a grid are kept; and no number, however odd, breaks a picture.
 */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "fmpatch.h"
#include "grid.h"
#include "html.h"
#include "overlap_html.h"
#include "svg.h"
#include "textutil.h"

/* What html_put() makes of a text, to free. */
static char *put(const char *s, size_t len, size_t most)
{
    char *data = NULL;
    size_t n;
    FILE *f = open_memstream(&data, &n);

    assert_non_null(f);
    html_put(f, s, len, most);
    assert_int_equal(fclose(f), 0);
    return data;
}

static void becomes(const char *s, size_t len, size_t most, const char *want)
{
    char *found = put(s, len, most);

    assert_string_equal(found, want);
    free(found);
}

static void markup_is_escaped(void **state)
{
    (void)state;
    becomes("</script><b a=\"x\" c='y'>&amp;", 29, 0,
            "&lt;/script&gt;&lt;b a=&quot;x&quot; c=&#39;y&#39;&gt;&amp;amp;");
    becomes("]]>", 3, 0, "]]&gt;");
    becomes("model.layers.0.w", 16, 0, "model.layers.0.w");
    becomes("na\xc3\xafve \xe5\xb1\x82 \xf0\x9f\x98\x80", 15, 0,
            "na\xc3\xafve \xe5\xb1\x82 \xf0\x9f\x98\x80");
    becomes("", 0, 0, "");
}

static void unfit_characters_are_named(void **state)
{
    (void)state;
    becomes("a\0b\n\x1b[2J\x7f", 9, 0, "aU+0000bU+000AU+001B[2JU+007F");
    becomes("x\xe2\x80\xaey\xe2\x81\xa6", 8, 0, "xU+202EyU+2066");
    becomes("\xc2\x85\xe2\x80\xa8\xef\xbb\xbf", 8, 0, "U+0085U+2028U+FEFF");
    becomes("\xef\xbf\xbf\xef\xb7\x90\xf0\x9f\xbf\xbe", 10, 0, "U+FFFFU+FDD0U+1FFFE");
    becomes("\xff\xc0\x80\xed\xa0\x80z", 7, 0, "U+FFFDU+FFFDU+FFFDU+FFFDU+FFFDU+FFFDz");
    becomes("\xe5\xb1", 2, 0, "U+FFFDU+FFFD"); /* cut short */
}

/* How many characters a page shows: an entity is one. */
static size_t shown(const char *s)
{
    size_t n = 0;

    for (; *s; s++) {
        if (*s == '&')
            s += strcspn(s, ";");
        n += ((unsigned char)*s & 0xc0) != 0x80;
    }
    return n;
}

static void long_names_lose_their_middle(void **state)
{
    char name[1025];

    (void)state;
    becomes("0123456789", 10, 10, "0123456789");
    becomes("0123456789x", 11, 10,
            "012\xe2\x80\xa6"
            "56789x");
    becomes("\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9", 10, 4,
            "\xc3\xa9\xe2\x80\xa6\xc3\xa9\xc3\xa9");
    for (size_t most = 1; most < 200; most++) {
        for (size_t i = 0; i < 1024; i++)
            name[i] = "a<&\x1b\xc3\xa9\"'>"[(i + most) % 9];
        name[1024] = '\0';
        char *found = put(name, 1024, most);

        assert_true(shown(found) <= most);
        assert_null(strpbrk(found, "<>\"'\x1b"));
        assert_int_equal(fmp_text_is_clean(found, strlen(found)), true);
        free(found);
    }
}

/* Every text of one to three bytes from the worst ones comes out fit for a page. */
static void no_bytes_leave_their_place(void **state)
{
    static const char worst[] = "<>&\"'\0\n\r\t\x1b\x7f\x80\xbf\xc2\xe2\x80\xae\xff\xf4]a";

    (void)state;
    for (unsigned n = 0; n < 22 * 22 * 22; n++) {
        const char s[3] = {worst[n % 22], worst[n / 22 % 22], worst[n / 484]};
        char *found = put(s, 3, 0);

        assert_null(strpbrk(found, "<>\"'"));
        assert_true(fmp_text_is_clean(found, strlen(found)));
        free(found);
    }
}

/* ---- grids ------------------------------------------------------------------------------------
 */

static uint64_t sum(const uint64_t *v, size_t n)
{
    uint64_t all = 0;

    for (size_t i = 0; i < n; i++)
        all += v[i];
    return all;
}

static void a_small_grid_is_itself(void **state)
{
    const grid_entry e[] = {{3, 1, 1, 10}, {GRID_NONE, 0, 2, 20}, {0, 1, 4, 40}, {3, 1, 8, 80}};
    grid g;

    (void)state;
    grid_make(&g, e, 4, (grid_limits){10, 10, 100}, grid_layer_name, grid_role_name);
    assert_int_equal(g.n_rows, 3);
    assert_int_equal(g.n_columns, 2);
    assert_string_equal(g.rows[0], "0");
    assert_string_equal(g.rows[1], "3");
    assert_string_equal(g.rows[2], "none");
    assert_string_equal(g.columns[1], "q");
    assert_int_equal(g.part[0 * 2 + 1], 4);
    assert_int_equal(g.part[1 * 2 + 1], 9);
    assert_int_equal(g.whole[1 * 2 + 1], 90);
    assert_int_equal(g.part[2 * 2 + 0], 2);
    assert_int_equal(g.whole[0 * 2 + 0], 0);
    grid_release(&g);
    grid_make(&g, e, 0, (grid_limits){10, 10, 100}, grid_layer_name, grid_role_name);
    assert_int_equal(g.n_rows, 0);
    grid_release(&g);
}

static void a_large_grid_is_joined_evenly(void **state)
{
    enum { N = 3000 };
    static grid_entry e[N];
    grid g;

    (void)state;
    for (int32_t i = 0; i < N; i++)
        e[i] = (grid_entry){i % 1000 == 999 ? GRID_NONE : i / 3 * 7, i % 50, 1, 3};
    for (size_t rows = 2; rows < 1100; rows += 37) {
        const grid_limits limits = {rows, 20, 900};
        uint64_t least = UINT64_MAX, most = 0;

        grid_make(&g, e, N, limits, grid_layer_name, grid_layer_name);
        assert_true(g.n_rows <= rows && g.n_columns <= 20 && g.n_rows * g.n_columns <= 900);
        assert_int_equal(sum(g.part, g.n_rows * g.n_columns), N);
        assert_int_equal(sum(g.whole, g.n_rows * g.n_columns), 3 * N);
        assert_string_equal(g.rows[g.n_rows - 1], "none");
        for (size_t r = 0; r + 1 < g.n_rows; r++) {
            const uint64_t in_row = sum(g.part + r * g.n_columns, g.n_columns);

            least = in_row < least ? in_row : least;
            most = in_row > most ? in_row : most;
        }
        assert_true(most <= least + 6); /* a key more than another, of three entries each */
        grid_release(&g);
    }
}

/* ---- pictures ---------------------------------------------------------------------------------
 */

/* What is drawn holds no number that is none, and its parts end where they begin. */
static void check_picture(const char *s)
{
    int depth = 0;

    assert_null(strstr(s, "nan"));
    assert_null(strstr(s, "inf"));
    assert_null(strstr(s, " x=\"-")); /* nothing lies outside the frame */
    assert_null(strstr(s, " y=\"-"));
    assert_null(strstr(s, "width=\"-"));
    assert_null(strstr(s, "height=\"-"));
    for (; *s; s++) {
        if (s[0] == '<')
            depth += s[1] == '/' ? -1 : 1;
        if (s[0] == '/' && s[1] == '>')
            depth--;
        assert_true(depth >= 0);
    }
    assert_int_equal(depth, 0);
}

static char hostile[1025] = "</title></svg><script>alert(1)</script>\"'&\xe2\x80\xae\x1b";

static void make_hostile(void)
{
    memset(hostile + strlen(hostile), '<', sizeof hostile - 1 - strlen(hostile));
}

static void histograms_of_anything(void **state)
{
    static const svg_head head = {.id = "h", .title = "<h>", .desc = "&"};
    uint64_t counts[SVG_HISTOGRAM_BINS] = {0};
    svg_histogram panels[2] = {{hostile, counts, 64}, {"F32", counts, SVG_HISTOGRAM_BINS}};

    (void)state;
    make_hostile();
    for (unsigned i = 0; i <= SVG_HISTOGRAM_BINS; i++) {
        char *data = NULL;
        size_t len;
        FILE *f = open_memstream(&data, &len);

        assert_non_null(f);
        svg_histogram_draw(f, &head, panels, 1 + i % 2, -64, "axis", "elements");
        assert_int_equal(fclose(f), 0);
        check_picture(data);
        assert_null(strstr(data, "<script"));
        free(data);
        if (i < SVG_HISTOGRAM_BINS)
            counts[i] = i % 3 == 0 ? UINT64_MAX : i % 3 == 1 ? 1 : 0;
    }
}

static void heat_of_anything(void **state)
{
    static const svg_head head = {.id = "h", .title = "<h>", .desc = "&"};
    static const uint64_t part[][6] = {
        {0, 0, 0, 0, 0, 0}, {1, 1, 1, 1, 1, 1}, {0, 1, 2, 3, 4, 5}, {UINT64_MAX, 1, 0, 7, 0, 3}};
    static const uint64_t whole[][6] = {{0, 0, 0, 0, 0, 0},
                                        {1, 1, 1, 1, 1, 1},
                                        {9, 9, 9, 9, 9, 9},
                                        {UINT64_MAX, UINT64_MAX, 5, 7, 0, 3}};
    char other[] = "q";
    char *rows[] = {hostile, other}, *columns[] = {other, hostile, other};

    (void)state;
    make_hostile();
    for (unsigned i = 0; i < 4 * 4 * 2; i++) {
        const svg_heat h = {.n_rows = 2,
                            .n_columns = 3,
                            .rows = rows,
                            .columns = columns,
                            .part = part[i % 4],
                            .whole = whole[i / 4 % 4],
                            .by_log = i >= 16,
                            .row_word = "layer ",
                            .unit = "elements"};
        char *data = NULL;
        size_t len;
        FILE *f = open_memstream(&data, &len);

        assert_non_null(f);
        svg_heat_draw(f, &head, &h);
        svg_heat_table(f, &h, "layer", hostile);
        assert_int_equal(fclose(f), 0);
        check_picture(data);
        assert_null(strstr(data, "<script"));
        free(data);
    }
}

static void bars_of_anything(void **state)
{
    static const svg_head head = {.id = "h", .title = "<h>", .desc = "&"};

    (void)state;
    make_hostile();
    for (unsigned i = 0; i < 4; i++) {
        const svg_bar bars[] = {{hostile, "1 kB", i == 3 ? 1e300 : 0, true},
                                {"b", "2", i == 2 ? 5 : 0, false}};
        char *data = NULL;
        size_t len;
        FILE *f = open_memstream(&data, &len);

        assert_non_null(f);
        svg_bars_draw(f, &head, bars, i % 3);
        assert_int_equal(fclose(f), 0);
        check_picture(data);
        assert_null(strstr(data, "<script"));
        free(data);
    }
}

static void sets_of_anything(void **state)
{
    static const svg_head head = {.id = "h", .title = "<h>", .desc = "&"};
    static const uint64_t sizes[] = {0, 1, UINT64_MAX}, counts[] = {UINT64_MAX, 1, 0, 5};
    static const uint64_t members[] = {7, 0, 4, UINT64_MAX};
    char other[] = "q";
    char *names[] = {hostile, other, other};

    (void)state;
    make_hostile();
    for (unsigned i = 0; i < 4 * 5; i++) {
        const svg_upset u = {.n_sets = i % 4,
                             .n_columns = i / 4,
                             .names = names,
                             .sizes = sizes,
                             .members = members,
                             .counts = counts};
        char *data = NULL;
        size_t len;
        FILE *f = open_memstream(&data, &len);

        assert_non_null(f);
        svg_upset_draw(f, &head, &u);
        assert_int_equal(fclose(f), 0);
        check_picture(data);
        assert_null(strstr(data, "<script"));
        free(data);
    }
}

/* Patches 0, 2, 4 share a lot, 1, 3, 5 share a lot, and the two groups nearly nothing. */
static void like_patches_stand_together(void **state)
{
    overlap_pair pairs[6 * 6] = {{0}};
    overlap_view v = {.n = 6, .pairs = pairs};
    size_t order[64];
    unsigned seen = 0;

    (void)state;
    for (size_t i = 0; i < 36; i++) {
        const size_t a = i / 6, b = i % 6;

        pairs[i] = (overlap_pair){.shared = a % 2 == b % 2 ? 80 + a + b : 1 + a + b, .either = 100};
    }
    overlap_order(&v, order);
    for (size_t i = 0; i < 6; i++) {
        seen |= 1u << order[i];
        assert_int_equal(order[i] % 2, order[i / 3 * 3] % 2);
    }
    assert_int_equal(seen, 63);
    memset(pairs, 0, sizeof pairs); /* nothing is shared: nothing moves */
    overlap_order(&v, order);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(order[i], i);
    v.n = 1;
    overlap_order(&v, order);
    assert_int_equal(order[0], 0);
}

static void a_page_holds_what_it_is_given(void **state)
{
    static const html_column columns[] = {{"a<", false}, {"n", true}};
    const char *cells[] = {hostile, "1"};
    html_page page;

    (void)state;
    make_hostile();
    html_page_begin(&page, hostile);
    html_element(page.f, "h1", "id", hostile);
    html_table_begin(page.f, hostile, columns, 2, true);
    html_table_row(page.f, columns, cells, 2);
    html_table_end(page.f, true);
    html_badge(page.f, HTML_BAD, hostile);
    html_page_end(&page);
    assert_int_equal(strlen(page.data), page.len);
    assert_null(strstr(page.data, "<script"));
    assert_null(strstr(page.data, "\xe2\x80\xae"));
    assert_non_null(strstr(page.data, "default-src 'none'"));
    html_page_release(&page);
    html_page_release(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(markup_is_escaped),
        cmocka_unit_test(unfit_characters_are_named),
        cmocka_unit_test(long_names_lose_their_middle),
        cmocka_unit_test(no_bytes_leave_their_place),
        cmocka_unit_test(a_small_grid_is_itself),
        cmocka_unit_test(a_large_grid_is_joined_evenly),
        cmocka_unit_test(histograms_of_anything),
        cmocka_unit_test(heat_of_anything),
        cmocka_unit_test(bars_of_anything),
        cmocka_unit_test(sets_of_anything),
        cmocka_unit_test(like_patches_stand_together),
        cmocka_unit_test(a_page_holds_what_it_is_given),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
