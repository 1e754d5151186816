/*
 * overlap_pages DIR: pages of overlaps that are made up from a fixed seed, for the browser: 1, 2,
 * 3, 8 and 40 patches, names that are hostile, and a place for each of 500,000 tensors.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "overlap_html.h"
#include "textutil.h"

#define SETS_MAX      64
#define COMBINATIONS  400
#define SIZE_MAX_PAGE 3000000

static uint64_t state;

static uint64_t roll(uint64_t n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % n;
}

static uint64_t draw_members(size_t n)
{
    uint64_t members = 1ull << roll(n);

    while (roll(3))
        members |= 1ull << roll(n);
    return members;
}

/* Combinations that differ, and pairs that follow from them. */
static void fill(overlap_view *v, overlap_combination *list, overlap_pair *pairs, uint64_t *changed)
{
    for (size_t k = 0; k < COMBINATIONS; k++) {
        const overlap_combination c = {draw_members(v->n), 1 + roll(1u << roll(24))};
        bool is_new = true;

        for (size_t i = 0; i < v->n_combinations; i++)
            is_new &= list[i].members != c.members;
        if (!is_new)
            continue;
        list[v->n_combinations++] = c;
        for (size_t i = 0; i < v->n; i++) {
            changed[i] += c.members >> i & 1 ? c.n : 0;
            for (size_t j = 0; j < v->n; j++) {
                overlap_pair *p = &pairs[i * v->n + j];
                const unsigned in = (c.members >> i & 1) + (c.members >> j & 1);

                p->either += in ? c.n : 0;
                p->shared += in == 2 ? c.n : 0;
                p->conflicts += in == 2 ? c.n / 3 : 0;
            }
        }
    }
}

static int write_page(const char *folder, const char *name, const overlap_view *v)
{
    char *path = text_format("%s/overlap-%s.html", folder, name);
    FILE *f = fopen(path, "we");
    html_page page;
    bool good;

    overlap_html_write(&page, v);
    good = f && fwrite(page.data, 1, page.len, f) == page.len && page.len < SIZE_MAX_PAGE;
    if (f && fclose(f))
        good = false;
    printf("overlap-%s: %zu bytes%s\n", name, page.len, good ? "" : "; FAIL");
    html_page_release(&page);
    free(path);
    return !good;
}

static int make(const char *folder, const char *name, size_t n, size_t n_places, const char *label)
{
    static overlap_combination list[COMBINATIONS];
    static overlap_pair pairs[SETS_MAX * SETS_MAX];
    uint64_t changed[SETS_MAX] = {0};
    const char *names[SETS_MAX];
    overlap_place *places = text_alloc(n_places * sizeof *places);
    overlap_view v = {.n = n,
                      .names = names,
                      .changed = changed,
                      .pairs = pairs,
                      .combinations = list,
                      .places = places,
                      .n_places = n_places};
    int status;

    state = n * 977 + n_places;
    memset(pairs, 0, sizeof pairs);
    for (size_t i = 0; i < n; i++)
        names[i] = label;
    fill(&v, list, pairs, changed);
    for (size_t i = 0; i < n_places; i++) {
        const uint64_t any = roll(2000), shared = roll(any + 1);

        places[i] = (overlap_place){(int32_t)(i / 11) - 1, (fmp_role)(i % 11), any, shared,
                                    roll(shared + 1)};
    }
    status = write_page(folder, name, &v);
    free(places);
    return status;
}

int main(int argc, char **argv)
{
    int failed = 0;

    if (argc != 2) {
        fputs("usage: overlap_pages DIR\n", stderr);
        return 2;
    }
    failed += make(argv[1], "1", 1, 0, "only.fmp");
    failed += make(argv[1], "2", 2, 100, "tasks/sentiment.fmp");
    failed += make(argv[1], "3", 3, 100, "tasks/sentiment.fmp");
    failed += make(argv[1], "8", 8, 300, "tasks/a-rather-long-name-of-a-task.fmp");
    failed += make(argv[1], "40", 40, 300, "tasks/sentiment.fmp");
    failed += make(argv[1], "hostile", 5, 60,
                   "</script><script>alert(1)</script>\"'&\xe2\x80\xae\x1b.fmp");
    failed += make(argv[1], "many", 64, 500000, "x");
    printf("%d passed, %d failed\n", 7 - failed, failed);
    return failed != 0;
}
