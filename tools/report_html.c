/*
 * The page of inspect --html: its frame, the summary, files and the manifest.  The other sections
 * are report_figures.c, report_tables.c and report_lineage.c.
 */
#include "report_html.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "summary.h"
#include "textutil.h"

#define FILES_MAX    200   /* rows */
#define MANIFEST_MAX 20000 /* characters */

/* ---- what is shown ----------------------------------------------------------------------------
 */

static report_trust verdict_of(const fmp_patch *patch, const trust *t)
{
    fmp_trust rules = {.size = sizeof rules, .ring = t->ring, .allow_unsigned = true};
    fmp_verdict verdict;

    if (fmp_patch_check_trust(patch, &rules, &verdict, NULL))
        return REPORT_REVOKED;
    return verdict == FMP_TRUSTED     ? REPORT_TRUSTED
           : verdict == FMP_UNTRUSTED ? REPORT_UNTRUSTED
                                      : REPORT_UNSIGNED;
}

const char *report_trust_text(report_trust t)
{
    static const char *const texts[] = {"signed, signer trusted", "signed, signer not trusted",
                                        "unsigned", "signed by a revoked key"};

    return texts[t];
}

html_mood report_trust_mood(report_trust t)
{
    return t == REPORT_TRUSTED ? HTML_GOOD : t == REPORT_REVOKED ? HTML_BAD : HTML_DOUBT;
}

fmp_status report_view_take(report_view *ret, const input_patch *in, const fmp_store *base,
                            const trust *t, unsigned n_threads, fmp_progress progress,
                            fmp_error *err)
{
    fmp_status st;

    *ret = (report_view){.in = in, .base = base, .trust = t};
    st = survey_take(&ret->survey, in->patch, base, n_threads, progress, err);
    if (!st && base)
        st = fmp_xor_size(in->patch, base, n_threads, progress, &ret->xor_size, err);
    if (st) {
        report_view_release(ret);
        return st;
    }
    ret->verdict = verdict_of(in->patch, t);
    ret->manifest = json_loads(fmp_patch_manifest(in->patch), 0, NULL);
    return FMP_OK;
}

void report_view_release(report_view *v)
{
    survey_release(&v->survey);
    json_decref(v->manifest);
    *v = (report_view){0};
}

/* ---- the summary ------------------------------------------------------------------------------
 */

/* A term and its text, which is freed. */
static void fact(FILE *f, const char *term, char *text)
{
    fprintf(f, "<dt>%s</dt><dd>", term);
    html_put(f, text, strlen(text), 400);
    fputs("</dd>\n", f);
    free(text);
}

static void fact_code(FILE *f, const char *term, const uint8_t bytes[32])
{
    char hex[65];

    text_hex(bytes, 32, hex);
    fprintf(f, "<dt>%s</dt><dd><code>%s</code></dd>\n", term, hex);
}

static void signature(FILE *f, const report_view *v, uint32_t i)
{
    const fmp_signature_info sig = fmp_patch_signature(v->in->patch, i);
    const bool revoked = trust_is_revoked(v->trust, &sig.key);
    char *name = trust_name(v->trust, &sig.key);
    char number[17];

    text_key_number(sig.key.number, number);
    fputs("<dt>signature</dt><dd>", f);
    html_badge(f,
               !sig.valid || revoked ? HTML_BAD
               : name                ? HTML_GOOD
                                     : HTML_DOUBT,
               !sig.valid ? "wrong"
               : revoked  ? "valid, by a revoked key"
               : name     ? "valid, by a trusted key"
                          : "valid, by a key that is not in the keyring");
    fprintf(f, " <code>%s</code>", number);
    if (name) {
        fputs(" ", f);
        html_name(f, name);
    }
    if (sig.comment && *sig.comment) {
        fputs("; signed comment: ", f);
        html_put(f, sig.comment, strlen(sig.comment), 200);
    }
    fputs("</dd>\n", f);
    free(name);
}

static void fact_reversible(FILE *f, const fmp_patch *patch)
{
    const char *why_not = fmp_patch_irreversible_because(patch);

    fputs("<dt>reversible</dt><dd>", f);
    html_badge(f, why_not ? HTML_DOUBT : HTML_GOOD, why_not ? "no" : "yes");
    if (why_not) {
        fputs(": ", f);
        html_put(f, why_not, strlen(why_not), 300);
    }
    fputs("</dd>\n", f);
}

/* A string of the manifest, by one or two keys; NULL when there is none. */
static const char *told(const json_t *manifest, const char *key, const char *inner)
{
    const json_t *value = json_object_get(manifest, key);

    return json_string_value(inner ? json_object_get(value, inner) : value);
}

static void fact_told(FILE *f, const report_view *v, const char *term, const char *key,
                      const char *inner)
{
    const char *text = told(v->manifest, key, inner);

    if (text)
        fact(f, term, text_copy(text));
}

/* What no honest fine-tune brings along. */
static void fact_numbers(FILE *f, const report_view *v)
{
    const survey *s = &v->survey;
    char nan[TEXT_NUMBER_LEN], inf[TEXT_NUMBER_LEN];
    char *text;

    text_group(s->n_new_nan, nan);
    text_group(s->n_new_inf, inf);
    fputs("<dt>new NaN, infinite</dt><dd>", f);
    text = text_format("%s NaN, %s infinite", nan, inf);
    html_badge(f, s->n_new_nan || s->n_new_inf ? HTML_BAD : HTML_GOOD, text);
    fputs("</dd>\n", f);
    free(text);
}

static void summary_facts(FILE *f, const report_view *v)
{
    const fmp_patch_summary s = fmp_patch_summarize(v->in->patch);
    const char *kind = told(v->manifest, "kind", NULL);
    char changed[TEXT_NUMBER_LEN], all[TEXT_NUMBER_LEN], percent[TEXT_NUMBER_LEN];
    char size[TEXT_NUMBER_LEN], payload[TEXT_NUMBER_LEN];

    text_group(s.n_changed, changed);
    text_group(s.n_elements, all);
    text_percent(s.n_changed, s.n_elements, percent);
    text_group(s.file_size, size);
    text_group(s.payload_size, payload);
    fputs("<dl>\n", f);
    fact(f, "kind",
         text_format("%s, format version %u%s", kind ? kind : "not told", s.version,
                     s.version ? "" : " (draft)"));
    fact_told(f, v, "task", "task", "name");
    fact_told(f, v, "method", "method", "name");
    fact_told(f, v, "made by", "operation", NULL);
    fact_told(f, v, "date", "date", NULL);
    fact(f, fmp_patch_is_mask(v->in->patch) ? "selected" : "changed",
         text_format("%s of %s elements (%s)", changed, all, percent));
    fact(f, "tensors", summary_tensors(&s));
    fact(f, "size",
         text_format("%s bytes, %s of them payload in %" PRIu32 " frames", size, payload,
                     s.n_frames));
    fact_numbers(f, v);
    fact_reversible(f, v->in->patch);
    fputs("<dt>trust</dt><dd>", f);
    html_badge(f, report_trust_mood(v->verdict), report_trust_text(v->verdict));
    fputs("</dd>\n", f);
    for (uint32_t i = 0; i < s.n_signatures && i < 50; i++)
        signature(f, v, i);
    fact_code(f, "patch id", s.id);
    fact_code(f, "base root", s.base_root);
    fact_code(f, "target root", s.target_root);
    fputs("</dl>\n", f);
}

static void summary(FILE *f, const report_view *v)
{
    html_element(f, "h2", "summary", "Summary");
    summary_facts(f, v);
}

/* ---- files and manifest -----------------------------------------------------------------------
 */

static void files(FILE *f, const report_view *v)
{
    static const html_column columns[] = {{"file", false}, {"state", false}, {"bytes", true}};
    const uint32_t n = fmp_patch_file_count(v->in->patch);
    uint32_t shown = 0;

    html_element(f, "h2", "files", "Files");
    if (!n) {
        html_element(f, "p", NULL, "The patch names no files.");
        return;
    }
    html_table_begin(f, "Files of the target, and side files of either side", columns, 3, false);
    /* Those that changed first. */
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < n && shown < FILES_MAX; i++) {
            const fmp_patch_file file = fmp_patch_file_at(v->in->patch, i);
            char size[TEXT_NUMBER_LEN];
            const char *cells[] = {file.name, summary_file_state(file.state), size};

            if ((file.state == FMP_FILE_SAME) != (pass == 1))
                continue;
            text_group(file.size, size);
            html_table_row(f, columns, cells, 3);
            shown++;
        }
    }
    html_table_end(f, false);
    if (shown < n) {
        char *rest = text_format("%" PRIu32 " more files are not shown.", n - shown);

        html_element(f, "p", NULL, rest);
        free(rest);
    }
}

static void manifest(FILE *f, const report_view *v)
{
    char *pretty = v->manifest ? json_dumps(v->manifest, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
    const char *text = pretty ? pretty : fmp_patch_manifest(v->in->patch);
    size_t room = MANIFEST_MAX;

    html_element(f, "h2", "manifest", "Manifest");
    html_element(f, "p", NULL,
                 "What the patch says of itself. A signature covers it; nothing else proves it.");
    fputs("<details><summary>The manifest</summary>\n<div class=\"scroll\" role=\"region\" "
          "tabindex=\"0\" aria-label=\"Manifest\"><pre><code>",
          f);
    /* Line by line: the line ends of the printer are ours, all else is foreign. */
    for (const char *p = text; *p && room;) {
        const size_t len = strcspn(p, "\n");

        html_put(f, p, len, 2000);
        fputc('\n', f);
        room -= room < len ? room : len;
        p += len + (p[len] == '\n');
        if (*p && !room)
            fputs("\xe2\x80\xa6\n", f);
    }
    fputs("</code></pre></div></details>\n", f);
    free(pretty);
}

/* ---- the page ---------------------------------------------------------------------------------
 */

static void header(FILE *f, const report_view *v, const char *title)
{
    const fmp_patch_summary s = fmp_patch_summarize(v->in->patch);
    char size[TEXT_NUMBER_LEN], percent[TEXT_NUMBER_LEN];
    char *lead;

    text_bytes(s.file_size, size);
    text_percent(s.n_changed, s.n_elements, percent);
    lead = text_format("%s of the weights %s, in a file of %s.", percent,
                       fmp_patch_is_mask(v->in->patch) ? "are selected" : "change", size);
    fputs("<header>\n", f);
    fputs("<h1>", f);
    html_name(f, title);
    fputs("</h1>\n<p>", f);
    html_put(f, lead, strlen(lead), 0);
    fputs(" ", f);
    html_badge(f, report_trust_mood(v->verdict), report_trust_text(v->verdict));
    fputs("</p>\n</header>\n"
          "<nav aria-label=\"Sections\"><ul><li><a href=\"#summary\">Summary</a></li>"
          "<li><a href=\"#where\">Where</a></li><li><a href=\"#far\">How far</a></li>"
          "<li><a href=\"#sizes\">Sizes</a></li><li><a href=\"#tensors\">Tensors</a></li>"
          "<li><a href=\"#lineage\">Lineage</a></li><li><a href=\"#files\">Files</a></li>"
          "<li><a href=\"#manifest\">Manifest</a></li></ul></nav>\n",
          f);
    free(lead);
}

void report_html_write(html_page *page, const report_view *v)
{
    char *title = text_format("Patch %s", v->in->shown);
    char *made;

    html_page_begin(page, title);
    header(page->f, v, title);
    fputs("<main>\n", page->f);
    summary(page->f, v);
    report_html_where(page->f, v);
    report_html_how_far(page->f, v);
    report_html_sizes(page->f, v);
    report_html_tensors(page->f, v);
    report_html_lineage(page->f, v);
    files(page->f, v);
    manifest(page->f, v);
    made = text_format("Made by fmpatch %s. Names of tensors and files, and the manifest, are the "
                       "patch's own words.",
                       fmp_version());
    fputs("</main>\n<footer>", page->f);
    html_element(page->f, "p", NULL, made);
    fputs("</footer>\n", page->f);
    html_page_end(page);
    free(made);
    free(title);
}
