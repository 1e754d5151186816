/*
 * Globs: known ones, all short ones against fnmatch(3), and ones that would take for ever.
 */
#include "support.h"

#include <fnmatch.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "base/glob.h"

static void known_globs_match(void **state)
{
    static const struct {
        const char *glob, *text;
        bool path, want;
    } cases[] = {
        {"*", "", false, true},
        {"", "", false, true},
        {"", "a", false, false},
        {"model.layers.*.q_proj.weight", "model.layers.31.self_attn.q_proj.weight", false, true},
        {"*.weight", "a/b.weight", false, true},
        {"*.weight", "a/b.weight", true, false},
        {"*/*.weight", "a/b.weight", true, true},
        {"a?b", "a/b", false, true},
        {"a?b", "a/b", true, false},
        {"a[!x]b", "a/b", true, false},
        {"a[!x]b", "a/b", false, true},
        {"?", "\xc3\xa9", false, true},
        {"[\xc3\xa0-\xc3\xbf]", "\xc3\xa9", false, true},
        {"layer[0-9]", "layer7", false, true},
        {"layer[0-9]", "layer17", false, false},
        {"[]a]", "]", false, true},
        {"[!]a]", "]", false, false},
        {"[a\\]b]", "]", false, true},
        {"[a-]", "-", false, true},
        {"\\*", "*", false, true},
        {"\\*", "a", false, false},
        {"[", "[", false, false}, /* not valid: matches nothing */
        {"a\\", "a\\", false, false},
        {"[[:digit:]]", "7", false, false},
        {"**a", "bba", true, true},
        {"*a*b", "xaab", false, true},
        {"*.*.*", "a.b", false, false},
    };

    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (fmp_glob_matches(cases[i].glob, cases[i].text, cases[i].path) != cases[i].want)
            fail_msg("\"%s\" and \"%s\"", cases[i].glob, cases[i].text);
    }
    assert_true(fmp_glob_is_valid("a[b]c\\d"));
    assert_false(fmp_glob_is_valid("a[b"));
    assert_false(fmp_glob_is_valid("a[[:alpha:]]"));
    assert_false(fmp_glob_is_valid("a[\\"));
}

static void nth_text(unsigned n, const char *letters, unsigned len, char *out)
{
    for (unsigned i = 0; i < len; i++) {
        out[i] = letters[n % strlen(letters)];
        n /= (unsigned)strlen(letters);
    }
    out[len] = 0;
}

/* Every valid glob of up to five of these characters, on every text of up to four. */
static void short_globs_do_what_fnmatch_does(void **state)
{
    static const char letters[] = "ab*?[]!-\\/";
    unsigned n_matched = 0;
    unsigned n_valid = 0;
    char glob[8], text[8];

    (void)state;
    (void)setlocale(LC_ALL, "C.UTF-8");
    for (unsigned n = 0; n < 100000; n++) {
        nth_text(n, letters, 5, glob);
        glob[1 + n / 7 % 5] = 0;
        if (!fmp_glob_is_valid(glob) || strstr(glob, "\\/") ||
            (strchr(glob, '[') && strchr(glob, '/')))
            continue; /* what a slash in a set or a quoted one means is each one's own */
        n_valid++;
        for (unsigned k = 0; k < 81; k++) {
            nth_text(k, "ab/", 4, text);
            text[k % 5] = 0;
            for (unsigned path = 0; path < 2; path++) {
                const bool want = !fnmatch(glob, text, path ? FNM_PATHNAME : 0);

                if (fmp_glob_matches(glob, text, path) != want)
                    fail_msg("\"%s\" on \"%s\": fnmatch says %d", glob, text, want);
                n_matched += want;
            }
        }
    }
    assert_true(n_valid > 1000 && n_matched > 10000);
}

static void many_stars_take_no_time(void **state)
{
    char glob[1025], text[1025];

    (void)state;
    for (unsigned i = 0; i < 1024; i++) {
        glob[i] = i % 2 ? 'a' : '*';
        text[i] = 'a';
    }
    glob[1024] = text[1024] = 0;
    glob[1023] = 'b';
    assert_false(fmp_glob_matches(glob, text, false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_globs_match),
        cmocka_unit_test(short_globs_do_what_fnmatch_does),
        cmocka_unit_test(many_stars_take_no_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
