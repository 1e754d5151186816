/*
 * Findings: kept up to a number for each rule, counted beyond it.  See policy_judge.h.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/glob.h"
#include "base/utf8.h"
#include "policy_judge.h"

#define KEPT_MAX 1000u /* findings of one rule */

typedef struct finding {
    unsigned rule;
    char member[48];
    char *tensor, *file;
    char message[320], expected[FMP_SAID_MAX], found[FMP_SAID_MAX];
} finding;

struct fmp_policy_results {
    finding *list;
    uint32_t n, cap;
    uint32_t kept[FMP_RULE_COUNT];
    uint64_t left_out;
};

fmp_policy_results *fmp_policy_results_new(void)
{
    return fmp_calloc(1, sizeof(fmp_policy_results));
}

static finding *push(fmp_judge *j, unsigned rule)
{
    fmp_policy_results *r = j->results;

    if (r->kept[rule] == KEPT_MAX) {
        r->left_out++;
        return NULL;
    }
    if (r->n == r->cap) {
        const uint32_t cap = r->cap ? r->cap * 2 : 16;
        finding *list = fmp_realloc(r->list, cap, sizeof *list);

        if (!list) {
            j->no_memory = true;
            return NULL;
        }
        r->list = list;
        r->cap = cap;
    }
    r->list[r->n] = (finding){.rule = rule};
    r->kept[rule]++;
    return &r->list[r->n++];
}

static char *copy(fmp_judge *j, const char *text)
{
    char *copied = text ? fmp_strndup(text, strlen(text)) : NULL;

    j->no_memory |= text && !copied;
    return copied;
}

/* Takes off a character that was cut in two. */
static void mend_end(char *text)
{
    size_t at = strlen(text);
    const size_t end = at;
    uint32_t c;

    while (at && end - at < 3 && ((uint8_t)text[at - 1] & 0xc0) == 0x80)
        at--;
    if (at && (uint8_t)text[at - 1] >= 0xc0 &&
        fmp_utf8_next((const uint8_t *)text + at - 1, end - at + 1, &c) != end - at + 1)
        text[at - 1] = 0;
}

static void put(char *to, size_t cap, const char *text)
{
    snprintf(to, cap, "%s", text);
    mend_end(to);
}

void fmp_judge_add(fmp_judge *j, fmp_subject s, const char *expected, const char *found,
                   const char *fmt, ...)
{
    finding *f = push(j, s.rule);
    va_list args;

    if (!f)
        return;
    put(f->member, sizeof f->member, s.member);
    put(f->expected, sizeof f->expected, expected);
    put(f->found, sizeof f->found, found);
    f->tensor = copy(j, s.tensor);
    f->file = copy(j, s.file);
    va_start(args, fmt);
    vsnprintf(f->message, sizeof f->message, fmt, args);
    va_end(args);
    mend_end(f->message);
}

bool fmp_texts_match(const fmp_texts *globs, const char *name, bool path)
{
    for (uint32_t i = 0; i < globs->n; i++) {
        if (fmp_glob_matches(globs->at[i], name, path))
            return true;
    }
    return false;
}

const char *fmp_judge_name(const fmp_judge *j, uint32_t row)
{
    return j->p->table.names + j->p->table.rows[row].name_at;
}

void fmp_judge_unmatched(fmp_judge *j, const char *member, const fmp_texts *globs)
{
    for (uint32_t i = 0; i < globs->n && !j->policy->allow_unmatched; i++) {
        uint32_t row = 0;

        while (row < j->p->table.n_rows &&
               !fmp_glob_matches(globs->at[i], fmp_judge_name(j, row), false))
            row++;
        if (row == j->p->table.n_rows)
            fmp_judge_add(j, (fmp_subject){.rule = FMP_RULE_UNMATCHED, .member = member},
                          "a tensor of base or target that it matches", "none",
                          "glob \"%.100s\" matches no tensor, so it protects nothing",
                          globs->at[i]);
    }
}

/* ---- answers ----------------------------------------------------------------------------------
 */

fmp_status fmp_policy_results_verdict(const fmp_policy_results *results)
{
    if (results->kept[FMP_RULE_SIGNATURES])
        return FMP_EAUTH;
    return results->n ? FMP_EPOLICY : FMP_OK;
}

uint32_t fmp_policy_results_count(const fmp_policy_results *results)
{
    return results->n;
}

fmp_finding fmp_policy_results_at(const fmp_policy_results *results, uint32_t i)
{
    const finding *f;

    if (i >= results->n)
        return (fmp_finding){0};
    f = &results->list[i];
    return (fmp_finding){.rule = fmp_policy_rule_at(f->rule).id,
                         .member = f->member,
                         .tensor = f->tensor,
                         .file = f->file,
                         .message = f->message,
                         .expected = f->expected,
                         .found = f->found};
}

uint64_t fmp_policy_results_left_out(const fmp_policy_results *results)
{
    return results->left_out;
}

void fmp_policy_results_free(fmp_policy_results *results)
{
    if (!results)
        return;
    for (uint32_t i = 0; i < results->n; i++) {
        fmp_free(results->list[i].tensor);
        fmp_free(results->list[i].file);
    }
    fmp_free(results->list);
    fmp_free(results);
}
