/*
 * The page that `fmpatch inspect --html` writes: what a patch is, where it changes the model and
 * how far, who signed it, what it is built on.
 */
#ifndef TOOLS_REPORT_HTML_H
#define TOOLS_REPORT_HTML_H

#include <jansson.h>

#include "fmpatch.h"
#include "html.h"
#include "inputs.h"
#include "survey.h"
#include "trust.h"

typedef enum report_trust {
    REPORT_TRUSTED,
    REPORT_UNTRUSTED,
    REPORT_UNSIGNED,
    REPORT_REVOKED
} report_trust;

typedef struct report_view {
    const input_patch *in;
    const fmp_store *base; /* NULL: none was given */
    const trust *trust;
    survey survey;
    uint64_t xor_size; /* with a base */
    report_trust verdict;
    json_t *manifest;
} report_view;

/* Measures.  `base` may be NULL.  A patch that a revoked key signed is shown as that, not refused.
 */
fmp_status report_view_take(report_view *ret, const input_patch *in, const fmp_store *base,
                            const trust *t, unsigned n_threads, fmp_progress progress,
                            fmp_error *err);
void report_view_release(report_view *v);

void report_html_write(html_page *page, const report_view *v);

/* ---- its parts: report_figures.c, report_tables.c, report_lineage.c ---------------------------
 */

void report_html_where(FILE *f, const report_view *v);
void report_html_how_far(FILE *f, const report_view *v);
void report_html_sizes(FILE *f, const report_view *v);
void report_html_tensors(FILE *f, const report_view *v);
void report_html_lineage(FILE *f, const report_view *v);

/* "signed, trusted", ...; what a badge says. */
const char *report_trust_text(report_trust t);
html_mood report_trust_mood(report_trust t);

#endif
