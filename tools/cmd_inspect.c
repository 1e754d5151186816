/*
 * fmpatch inspect: what a patch is, without the base.
 */
#include <fnmatch.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "fmpatch.h"
#include "inputs.h"
#include "page_out.h"
#include "progress.h"
#include "report.h"
#include "report_html.h"
#include "summary.h"
#include "textutil.h"
#include "trust.h"

typedef struct inspect_args {
    common_args common;
    bool tensors;
    const char *names;
    const char *html, *base, *keyring;
    bool force;
    opt_number threads;
} inspect_args;

static const opt_entry options[] = {
    {.name = "tensors",
     .kind = OPT_FLAG,
     .offset = offsetof(inspect_args, tensors),
     .help = "list every tensor and what changed in it; decodes the payload"},
    {.name = "names",
     .kind = OPT_TEXT,
     .offset = offsetof(inspect_args, names),
     .arg = "GLOB",
     .help = "list the tensors whose names match"},
    {.name = "html",
     .kind = OPT_TEXT,
     .offset = offsetof(inspect_args, html),
     .arg = "FILE",
     .hint = HINT_FILE,
     .help = "write a page with pictures to FILE (-: standard output) instead"},
    {.name = "base",
     .kind = OPT_TEXT,
     .offset = offsetof(inspect_args, base),
     .arg = "BASE",
     .hint = HINT_FILE,
     .help = "with --html: also measure against the base how far values move"},
    OPT_KEYRING(inspect_args, keyring),
    {.name = "force",
     .letter = 'f',
     .kind = OPT_FLAG,
     .offset = offsetof(inspect_args, force),
     .help = "with --html: replace FILE when it exists"},
    {.name = "threads",
     .kind = OPT_NUMBER,
     .offset = offsetof(inspect_args, threads),
     .arg = "N",
     .min = 1,
     .max = 1024,
     .help = "threads, one for each processor without it"},
    OPT_PROGRESS,
    OPT_COMMON,
    {0},
};

static bool is_wanted(const inspect_args *args, const fmp_tensor_info *info)
{
    return !args->names || !fnmatch(args->names, info->name, 0);
}

/* A tensor as it is in the target, or in the base when it was removed. */
static fmp_tensor_info info_of(const fmp_patch_tensor *t)
{
    return t->target.name ? t->target : t->base;
}

/* ---- text -------------------------------------------------------------------------------------
 */

static void fact(report_table *t, const char *name, char *value)
{
    const char *cells[] = {name, value};

    report_table_row(t, cells);
    free(value);
}

static void fact_hex(report_table *t, const char *name, const uint8_t bytes[32])
{
    char hex[65];

    text_hex(bytes, 32, hex);
    fact(t, name, text_copy(hex));
}

static void print_signatures(report_table *t, const fmp_patch *patch)
{
    const uint32_t n = fmp_patch_summarize(patch).n_signatures;

    if (!n)
        fact(t, "signatures", text_copy("none"));
    for (uint32_t i = 0; i < n; i++) {
        const fmp_signature_info sig = fmp_patch_signature(patch, i);
        char *comment =
            text_escape(sig.comment ? sig.comment : "", sig.comment ? strlen(sig.comment) : 0);
        char number[17];

        text_key_number(sig.key.number, number);
        fact(t, "signature",
             text_format("%s, %s%s%s", number, sig.valid ? "valid" : "WRONG",
                         *comment ? ", comment: " : "", comment));
        free(comment);
    }
}

static void print_facts(const input_patch *in)
{
    static const report_column columns[] = {{.name = "fact"}, {.name = "value", .shrink = false}};
    report_table *t = report_table_new(columns, 2, false);
    const fmp_patch_summary s = fmp_patch_summarize(in->patch);
    const char *why_not = fmp_patch_irreversible_because(in->patch);
    char changed[TEXT_NUMBER_LEN], all[TEXT_NUMBER_LEN], percent[TEXT_NUMBER_LEN];
    char size[TEXT_NUMBER_LEN], payload[TEXT_NUMBER_LEN];
    char *reason;

    text_group(s.n_changed, changed);
    text_group(s.n_elements, all);
    text_percent(s.n_changed, s.n_elements, percent);
    text_group(s.file_size, size);
    text_group(s.payload_size, payload);
    fact(t, "patch", text_escape(in->shown, strlen(in->shown)));
    fact(t, "version", text_format("%u%s", s.version, s.version ? "" : " (draft)"));
    fact_hex(t, "id", s.id);
    fact(t, "bytes",
         text_format("%s, of these %s payload in %" PRIu32 " frames", size, payload, s.n_frames));
    if (fmp_patch_is_mask(in->patch))
        fact(t, "mask", text_format("%s of %s elements selected (%s)", changed, all, percent));
    else
        fact(t, "weights", text_format("%s of %s changed (%s)", changed, all, percent));
    fact(t, "profile", text_copy(summary_profile(&s)));
    fact(t, "tensors", summary_tensors(&s));
    fact(t, "base", text_format("%" PRIu32 " tensors, root:", s.n_base_tensors));
    fact_hex(t, "", s.base_root);
    fact(t, "target", text_format("%" PRIu32 " tensors, root:", s.n_target_tensors));
    fact_hex(t, "", s.target_root);
    reason = text_escape(why_not ? why_not : "", why_not ? strlen(why_not) : 0);
    fact(t, "reversible", why_not ? text_format("no: %s", reason) : text_copy("yes"));
    free(reason);
    print_signatures(t, in->patch);
    report_table_end(t);
}

static void print_manifest(const fmp_patch *patch)
{
    const char *text = fmp_patch_manifest(patch);
    json_t *manifest = json_loads(text, 0, NULL);
    char *pretty = manifest ? json_dumps(manifest, JSON_INDENT(2)) : NULL;

    /* Line by line: the line ends of the printer are ours, all else is foreign. */
    puts("\nManifest:");
    for (const char *p = pretty ? pretty : text; *p;) {
        const size_t len = strcspn(p, "\n");
        char *line = text_escape(p, len);

        /* jansson has escaped backslashes already; once is enough. */
        for (char *c = line; *c; c++) {
            if (c[0] == '\\' && c[1] == '\\')
                c++;
            putchar(*c);
        }
        putchar('\n');
        free(line);
        p += len + (p[len] == '\n');
    }
    free(pretty);
    json_decref(manifest);
}

static void print_files(const fmp_patch *patch)
{
    static const report_column columns[] = {
        {.name = "FILE", .shrink = true}, {.name = "STATE"}, {.name = "BYTES", .right = true}};
    const uint32_t n = fmp_patch_file_count(patch);
    report_table *t;

    if (!n)
        return;
    putchar('\n');
    t = report_table_new(columns, 3, true);
    for (uint32_t i = 0; i < n; i++) {
        const fmp_patch_file f = fmp_patch_file_at(patch, i);
        char *name = text_escape(f.name, strlen(f.name));
        char size[TEXT_NUMBER_LEN];
        const char *cells[] = {name, summary_file_state(f.state), size};

        if (report_is_terminal())
            text_group(f.size, size);
        else
            snprintf(size, sizeof size, "%" PRIu64, f.size);
        report_table_row(t, cells);
        free(name);
    }
    report_table_end(t);
}

/* For people with commas; "-" for what is not known. */
static void number_cell(uint64_t n, char out[TEXT_NUMBER_LEN])
{
    if (n == UINT64_MAX)
        snprintf(out, TEXT_NUMBER_LEN, "-");
    else if (report_is_terminal())
        text_group(n, out);
    else
        snprintf(out, TEXT_NUMBER_LEN, "%" PRIu64, n);
}

static void print_tensor(report_table *table, const fmp_patch_tensor *t)
{
    const fmp_tensor_info info = info_of(t);
    char *name = text_escape(info.name, info.name_len);
    char *dtype = text_escape(info.dtype, strlen(info.dtype));
    char *shape = summary_shape(&info);
    char *source = t->source ? text_escape(t->source, strlen(t->source)) : NULL;
    char *state = source ? text_format("%s of %s", summary_state(t->state), source)
                         : text_copy(summary_state(t->state));
    char changed[TEXT_NUMBER_LEN], percent[TEXT_NUMBER_LEN] = "-", up[TEXT_NUMBER_LEN];
    char down[TEXT_NUMBER_LEN], step[TEXT_NUMBER_LEN], stored[TEXT_NUMBER_LEN];
    const char *cells[] = {name, dtype, shape, state, changed, percent, up, down, step, stored};

    number_cell(t->n_changed, changed);
    if (t->n_changed != UINT64_MAX)
        text_percent(t->n_changed, info.n_elements, percent);
    number_cell(t->n_up, up);
    number_cell(t->n_down, down);
    number_cell(t->max_residual, step);
    number_cell(t->stored, stored);
    report_table_row(table, cells);
    free(name);
    free(dtype);
    free(shape);
    free(source);
    free(state);
}

static void print_tensors(const inspect_args *args, const fmp_patch *patch)
{
    static const report_column columns[] = {
        {.name = "TENSOR", .shrink = true},
        {.name = "DTYPE"},
        {.name = "SHAPE"},
        {.name = "STATE"},
        {.name = "CHANGED", .right = true},
        {.name = "PERCENT", .right = true},
        {.name = "UP", .right = true},
        {.name = "DOWN", .right = true},
        {.name = "MAX-STEP", .right = true},
        {.name = "STORED", .right = true},
    };
    const uint32_t n = fmp_patch_summarize(patch).n_tensors;
    report_table *table;

    putchar('\n');
    table = report_table_new(columns, sizeof columns / sizeof *columns, true);
    for (uint32_t i = 0; i < n; i++) {
        const fmp_patch_tensor t = fmp_patch_tensor_at(patch, i);
        const fmp_tensor_info info = info_of(&t);

        if (is_wanted(args, &info))
            print_tensor(table, &t);
    }
    report_table_end(table);
}

/* ---- JSON -------------------------------------------------------------------------------------
 */

static json_t *known(uint64_t n)
{
    return n == UINT64_MAX ? json_null() : report_json_number(n);
}

static json_t *tensor_json(const fmp_patch_tensor *t)
{
    const fmp_tensor_info info = info_of(t);
    json_t *o = json_object();

    report_json_set(o, "name", report_json_text(info.name));
    report_json_set(o, "dtype", report_json_text(info.dtype));
    report_json_set(o, "shape", summary_shape_json(&info));
    report_json_set(o, "state", json_string(summary_state(t->state)));
    report_json_set(o, "source", report_json_text(t->source));
    report_json_set(o, "elements", report_json_number(info.n_elements));
    report_json_set(o, "changed", known(t->n_changed));
    report_json_set(o, "up", known(t->n_up));
    report_json_set(o, "down", known(t->n_down));
    report_json_set(o, "max_step", known(t->max_residual));
    report_json_set(o, "stored", known(t->stored));
    report_json_set(o, "base_digest",
                    t->base.name ? report_json_hex(t->base_digest, 32) : json_null());
    report_json_set(o, "target_digest",
                    t->target.name ? report_json_hex(t->target_digest, 32) : json_null());
    return o;
}

static void print_json_lists(report_json *j, const inspect_args *args, const fmp_patch *patch)
{
    const uint32_t n = fmp_patch_summarize(patch).n_tensors;

    report_json_array(j, "files");
    for (uint32_t i = 0; i < fmp_patch_file_count(patch); i++) {
        const fmp_patch_file f = fmp_patch_file_at(patch, i);
        json_t *o = json_object();

        report_json_set(o, "name", report_json_text(f.name));
        report_json_set(o, "state", json_string(summary_file_state(f.state)));
        report_json_set(o, "bytes", report_json_number(f.size));
        report_json_item(j, o);
    }
    report_json_array_end(j);
    if (!args->tensors)
        return;
    report_json_array(j, "tensor_list");
    for (uint32_t i = 0; i < n; i++) {
        const fmp_patch_tensor t = fmp_patch_tensor_at(patch, i);
        const fmp_tensor_info info = info_of(&t);

        if (is_wanted(args, &info))
            report_json_item(j, tensor_json(&t));
    }
    report_json_array_end(j);
}

static void print_json(const inspect_args *args, const input_patch *in)
{
    const fmp_patch_summary s = fmp_patch_summarize(in->patch);
    report_json j;

    report_json_begin(&j, "inspect");
    report_json_member(&j, "patch", report_json_text(in->shown));
    if (args->html)
        report_json_member(&j, "html", report_json_text(args->html));
    report_json_member(&j, "version", json_integer(s.version));
    report_json_member(&j, "id", report_json_hex(s.id, sizeof s.id));
    report_json_member(&j, "bytes", report_json_number(s.file_size));
    report_json_member(&j, "payload_bytes", report_json_number(s.payload_size));
    report_json_member(&j, "frames", json_integer(s.n_frames));
    report_json_member(&j, "elements", report_json_number(s.n_elements));
    report_json_member(&j, "changed", report_json_number(s.n_changed));
    report_json_member(&j, "tensors", summary_tensors_json(&s));
    report_json_member(&j, "base_root", report_json_hex(s.base_root, sizeof s.base_root));
    report_json_member(&j, "target_root", report_json_hex(s.target_root, sizeof s.target_root));
    report_json_member(&j, "profile", report_json_text(summary_profile(&s)));
    report_json_member(&j, "reversible", json_boolean(s.reversible));
    report_json_member(&j, "irreversible_because",
                       report_json_text(fmp_patch_irreversible_because(in->patch)));
    report_json_member(&j, "signatures", trust_json(NULL, in->patch));
    report_json_member(&j, "manifest", json_loads(fmp_patch_manifest(in->patch), 0, NULL));
    print_json_lists(&j, args, in->patch);
    report_json_end(&j);
}

/* ---- a page -----------------------------------------------------------------------------------
 */

static int check_html_args(const inspect_args *args, const char *operand)
{
    if (!args->html)
        return args->base || args->keyring || args->force
                   ? report_usage("--base, --keyring and --force need --html")
                   : FMP_OK;
    if (args->tensors || args->names)
        return report_usage("--html excludes --tensors and --names");
    return page_check(args->html, args->force, &args->common,
                      (const char *const[]){operand, args->base}, 2);
}

static int make_page(const inspect_args *args, const input_patch *in, const fmp_store *base,
                     const trust *t, html_page *page)
{
    report_view view;
    fmp_error err;
    const fmp_status st = report_view_take(&view, in, base, t, (unsigned)args->threads.value,
                                           progress_start(&args->common, "inspect"), &err);

    progress_end();
    if (st)
        return report_error(&args->common, &err);
    report_html_write(page, &view);
    report_view_release(&view);
    return FMP_OK;
}

static int write_html(const inspect_args *args, const input_patch *in)
{
    const trust_args whom = {.keyring = args->keyring};
    fmp_store *base = NULL;
    html_page page = {0};
    trust t = {0};
    int status = trust_open(&t, &whom, &args->common);

    if (!status && args->base)
        status = inputs_open_store(&base, args->base, in->patch, INPUT_BASE, &args->common);
    if (!status)
        status = make_page(args, in, base, &t, &page);
    if (!status)
        status = page_put(args->html, &page, args->force, &args->common);
    html_page_release(&page);
    fmp_store_close(base);
    trust_close(&t);
    return status;
}

/* ---- the work ---------------------------------------------------------------------------------
 */

static int inspect(inspect_args *args, const char *operand)
{
    input_patch in = {0};
    int status = check_html_args(args, operand);
    fmp_error err;

    if (!status)
        status = inputs_open_patch(&in, operand, &args->common);
    args->tensors |= args->names != NULL;
    if (!status && args->tensors) {
        const fmp_status st = fmp_patch_scan(in.patch, (unsigned)args->threads.value,
                                             progress_start(&args->common, "inspect"), &err);

        progress_end();
        if (st)
            status = report_error(&args->common, &err);
    }
    if (!status && args->html)
        status = write_html(args, &in);
    if (!status && args->common.json) {
        print_json(args, &in);
    } else if (!status && !args->html) {
        print_facts(&in);
        print_manifest(in.patch);
        print_files(in.patch);
        if (args->tensors)
            print_tensors(args, in.patch);
    }
    inputs_close_patch(&in);
    return status;
}

static int run(const command *self, int argc, char **argv)
{
    inspect_args args = {0};
    char **operands;
    size_t n;
    int status = FMP_OK;
    const opt_outcome outcome = opts_parse(self, argc, argv, &args, &operands, &n);

    if (outcome == OPTS_RUN)
        status = inspect(&args, operands[0]);
    else if (outcome == OPTS_BAD)
        status = fmp_exit_status(FMP_EUSAGE);
    opts_release(self, &args);
    return status;
}

const command cmd_inspect = {
    .name = "inspect",
    .operands = "PATCH",
    .summary = "print what PATCH is: identity, sizes, signatures, tensors",
    .notes =
        "A PATCH '-' is read from standard input.  Wrong signatures are refused; whom to trust "
        "is a question for 'fmpatch verify'.",
    .options = options,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
