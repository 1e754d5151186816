/*
 * Pages of HTML: the frame, the look, tables, and foreign text made harmless.  Must not know of
 * patches.
 */
#include "html.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "textutil.h"

/* Contrast of text on what is behind it: at least 4.5 in both themes (WCAG 2.2, 1.4.3).  s1 .. s4:
 * series; h1 .. h8: heat, a ramp of lightness in one hue; t1, t2: text on the weaker and the
 * stronger half of it. */
const char html_colors[] =
    ":root{color-scheme:light dark;--ink:#1c2024;--soft:#525a63;--paper:#fff;--panel:#f4f6f8;"
    "--line:#cfd6dd;--link:#0b5cad;--s1:#0b5cad;--s2:#b5480b;--s3:#0a7355;--s4:#8a3d7c;"
    "--good:#116b37;--doubt:#8a4b00;--bad:#b3261e;"
    "--h1:#e6f0f9;--h2:#cbdff1;--h3:#a9cbe6;--h4:#83b3d9;--h5:#5b99ca;--h6:#2f74aa;--h7:#1a5a90;"
    "--h8:#0a3d6b;--t1:#10161c;--t2:#10161c;--t3:#fff}\n"
    "@media screen and (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#a3adb8;"
    "--paper:#14181d;--panel:#1d232a;--line:#3b444e;--link:#6cb2f0;--s1:#6cb2f0;--s2:#f0985a;"
    "--s3:#45c49b;--s4:#d68bc8;--good:#6fd394;--doubt:#f0b35a;--bad:#ff8a80;"
    "--h1:#14263a;--h2:#173a5a;--h3:#1b4d79;--h4:#215f94;--h5:#3f86bf;--h6:#66a5d8;--h7:#96c5ea;"
    "--h8:#cfe6f8;--t1:#e6edf3;--t2:#0a0f14;--t3:#0a0f14}}\n"
    ".h1,.h2,.h3,.h4{color:var(--t1)}.h5{color:var(--t2)}.h6,.h7,.h8{color:var(--t3)}\n"
    ".h1 rect{fill:var(--h1)}.h2 rect{fill:var(--h2)}.h3 rect{fill:var(--h3)}"
    ".h4 rect{fill:var(--h4)}.h5 rect{fill:var(--h5)}.h6 rect{fill:var(--h6)}"
    ".h7 rect{fill:var(--h7)}.h8 rect{fill:var(--h8)}.h0 rect{fill:none;stroke:var(--line)}\n"
    ".h1 text,.h2 text,.h3 text,.h4 text,.h5 text,.h6 text,.h7 text,.h8 text{fill:currentColor}\n"
    "svg text{fill:var(--ink);font:12px system-ui,sans-serif}svg .m{text-anchor:middle}"
    "svg .e{text-anchor:end}svg .soft{fill:var(--soft)}svg .b{font-weight:600}"
    "svg .grid{stroke:var(--line);fill:none}svg .axis{stroke:var(--soft);fill:none}"
    ".s1{fill:var(--s1)}.s2{fill:var(--s2)}.s3{fill:var(--s3)}.s4{fill:var(--s4)}\n";

static const char look[] =
    "*{box-sizing:border-box}"
    "body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}\n"
    "header,main,footer,nav{max-width:1080px;margin:0 auto;padding:0 24px}"
    "header{padding-top:20px}footer{padding-bottom:24px;color:var(--soft);font-size:13px}\n"
    "h1{font-size:24px;line-height:1.25;margin:0 0 4px;overflow-wrap:anywhere}"
    "h2{font-size:19px;margin:36px 0 8px;padding-top:12px;border-top:1px solid var(--line)}"
    "h3{font-size:16px;margin:24px 0 6px}p{margin:6px 0 10px;max-width:75ch}"
    "a{color:var(--link)}nav ul{display:flex;flex-wrap:wrap;gap:4px 18px;padding:0;margin:12px 0;"
    "list-style:none}\n"
    "figure{margin:14px 0}figcaption{color:var(--soft);font-size:13px;max-width:95ch}"
    "svg{display:block;max-width:100%;height:auto}\n"
    "dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:4px 20px;margin:12px 0}"
    "dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}"
    "code{font:13px ui-monospace,monospace;overflow-wrap:anywhere}\n"
    ".scroll{overflow:auto;max-height:30em;border:1px solid var(--line);border-radius:6px;"
    "margin:8px 0 16px;width:fit-content;max-width:100%}"
    ".names tbody th{min-width:17em}"
    "table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}"
    "caption{text-align:left;color:var(--soft);padding:6px 10px;font-size:13px}"
    "th,td{text-align:left;padding:3px 10px;border-top:1px solid var(--line);vertical-align:top}"
    "thead th{background:var(--panel);position:sticky;top:0;border-top:0;white-space:nowrap}"
    "tbody th{font-weight:400;overflow-wrap:anywhere;min-width:8em}"
    ".n{text-align:right;white-space:nowrap}\n"
    "details{margin:8px 0 16px}summary{cursor:pointer;color:var(--link);font-size:14px}"
    ".badge{white-space:nowrap;font-weight:600}.good{color:var(--good)}.doubt{color:var(--doubt)}"
    ".bad{color:var(--bad)}\n"
    "@media (max-width:560px){dl{grid-template-columns:minmax(0,1fr);gap:0}dd{margin-bottom:8px}}\n"
    "@media print{body{font-size:10pt}header,main,footer{max-width:none;padding:0}nav{display:none}"
    ".scroll{max-height:none;overflow:visible;border:0}thead th{position:static}"
    "table{font-size:7.5pt}.names{font-size:6.5pt}th,td{padding:1px 4px}"
    "thead th{white-space:normal}tbody th{min-width:7em}.names tbody th{min-width:9em}"
    "td{overflow-wrap:anywhere}td.n{overflow-wrap:normal}.names td:not(.n){min-width:5.6em}"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere}"
    ".wide{display:none}summary{display:none}details::details-content{content-visibility:visible;"
    "height:auto}"
    "figure,tr{break-inside:avoid}h2,h3{break-after:avoid}"
    "svg,th{print-color-adjust:exact;-webkit-print-color-adjust:exact}@page{margin:14mm}}\n";

/* More do not fit on paper, which then has the picture alone. */
#define PAPER_COLUMNS 17

/* ---- foreign text -----------------------------------------------------------------------------
 */

/* Besides what terminals suffer from, what XML cannot hold. */
static bool is_unfit(uint32_t c)
{
    return text_is_harmful(c) || (c & 0xfffe) == 0xfffe || (c >= 0xfdd0 && c <= 0xfdef);
}

/* Writes one character unless `f` is NULL; returns its length in `s`, and in *ret_shown how many
 * characters it takes on the page. */
static size_t put_one(FILE *f, const char *s, size_t len, size_t *ret_shown)
{
    uint32_t c = 0xfffd;
    const size_t n = text_utf8(s, len, &c);
    const bool named = !n || is_unfit(c);
    const char *entity = c == '<'    ? "&lt;"
                         : c == '>'  ? "&gt;"
                         : c == '&'  ? "&amp;"
                         : c == '"'  ? "&quot;"
                         : c == '\'' ? "&#39;"
                                     : NULL;

    *ret_shown = named ? 6 : 1;
    if (f && named)
        fprintf(f, "U+%04" PRIX32, c);
    else if (f && entity)
        fputs(entity, f);
    else if (f)
        fwrite(s, 1, n, f);
    return n ? n : 1;
}

static size_t shown_length(const char *s, size_t len)
{
    size_t total = 0, shown;

    for (size_t i = 0; i < len; total += shown)
        i += put_one(NULL, s + i, len - i, &shown);
    return total;
}

void html_put(FILE *f, const char *s, size_t len, size_t most)
{
    const size_t total = most ? shown_length(s, len) : 0;
    const bool is_long = total > most;
    const size_t head = is_long ? most / 3 : 0; /* the end of a name tells more than its start */
    const size_t tail = is_long ? most - 1 - head : 0;
    bool cut = false;
    size_t at = 0, shown;

    for (size_t i = 0; i < len; at += shown) {
        size_t n = put_one(NULL, s + i, len - i, &shown);
        const bool keep = !is_long || at + shown <= head || at >= total - tail;

        if (keep)
            put_one(f, s + i, len - i, &shown);
        else if (!cut)
            fputs("\xe2\x80\xa6", f); /* an ellipsis */
        cut |= !keep;
        i += n;
    }
}

void html_name(FILE *f, const char *s)
{
    html_put(f, s, strlen(s), HTML_NAME_MAX);
}

void html_element(FILE *f, const char *tag, const char *id, const char *text)
{
    fprintf(f, "<%s", tag);
    if (id)
        fprintf(f, " id=\"%s\"", id);
    fputc('>', f);
    html_put(f, text, strlen(text), 0);
    fprintf(f, "</%s>\n", tag);
}

/* ---- the page ---------------------------------------------------------------------------------
 */

void html_page_begin(html_page *page, const char *title)
{
    *page = (html_page){0};
    page->f = open_memstream(&page->data, &page->len);
    if (!page->f)
        free(text_alloc(SIZE_MAX)); /* ends the program */
    fputs("<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n"
          "<meta charset=\"utf-8\"/>\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
          "style-src 'unsafe-inline'\"/>\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
          "<meta name=\"referrer\" content=\"no-referrer\"/>\n<title>",
          page->f);
    html_name(page->f, title);
    fprintf(page->f, "</title>\n<style>\n%s%s</style>\n</head>\n<body>\n", html_colors, look);
}

void html_page_end(html_page *page)
{
    const bool good = !fputs("</body>\n</html>\n", page->f) || !ferror(page->f);

    if (fclose(page->f) || !good)
        free(text_alloc(SIZE_MAX));
    page->f = NULL;
}

void html_page_release(html_page *page)
{
    if (page->f)
        fclose(page->f);
    free(page->data);
    *page = (html_page){0};
}

/* ---- figures and tables -----------------------------------------------------------------------
 */

void html_figure_begin(FILE *f)
{
    fputs("<figure>\n", f);
}

void html_figure_end(FILE *f, const char *caption)
{
    html_element(f, "figcaption", NULL, caption);
    fputs("</figure>\n", f);
}

void html_table_begin(FILE *f, const char *caption, const html_column *columns, size_t n,
                      bool folded)
{
    if (folded) {
        fputs("<details><summary>", f);
        html_put(f, caption, strlen(caption), 0);
        fputs("</summary>\n", f);
    }
    fprintf(f, "<div class=\"scroll%s\" role=\"region\" tabindex=\"0\" aria-label=\"",
            n > PAPER_COLUMNS ? " wide" : "");
    html_put(f, caption, strlen(caption), 0);
    /* A wide table begins with names that must stay readable. */
    fprintf(f, "\">\n<table%s>", n > 6 && !columns[0].right ? " class=\"names\"" : "");
    html_element(f, "caption", NULL, caption);
    fputs("<thead><tr>", f);
    for (size_t i = 0; i < n; i++) {
        fprintf(f, "<th scope=\"col\"%s>", columns[i].right ? " class=\"n\"" : "");
        html_name(f, columns[i].name);
        fputs("</th>", f);
    }
    fputs("</tr></thead>\n<tbody>\n", f);
}

void html_table_row(FILE *f, const html_column *columns, const char *const *cells, size_t n)
{
    fputs("<tr>", f);
    for (size_t i = 0; i < n; i++) {
        const char *tag = i ? "td" : "th";

        fprintf(f, "<%s%s%s>", tag, i ? "" : " scope=\"row\"",
                columns[i].right ? " class=\"n\"" : "");
        html_name(f, cells[i]);
        fprintf(f, "</%s>", tag);
    }
    fputs("</tr>\n", f);
}

void html_table_end(FILE *f, bool folded)
{
    fprintf(f, "</tbody></table></div>%s\n", folded ? "</details>" : "");
}

void html_badge(FILE *f, html_mood mood, const char *text)
{
    static const char *const classes[] = {"good", "doubt", "bad"};
    static const char *const signs[] = {"\xe2\x9c\x93", "?", "\xe2\x9c\x97"}; /* check, cross */

    fprintf(f, "<span class=\"badge %s\"><span aria-hidden=\"true\">%s</span> ", classes[mood],
            signs[mood]);
    html_put(f, text, strlen(text), 0);
    fputs("</span>", f);
}
