/*
 * One table of options becomes what getopt_long() wants, and help and manual text.  Must not know
 * what any option means.
 */
#include "opts.h"

#include <ctype.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "report.h"
#include "suggest.h"
#include "textutil.h"

#define HELP_COLUMN 27
#define HELP_WIDTH  79
#define LONG_BASE   1000 /* getopt's value of the i-th long option */

static bool takes_value(const opt_entry *o)
{
    return o->kind != OPT_FLAG && o->kind != OPT_COUNT;
}

static size_t count_options(const opt_entry *table)
{
    size_t n = 0;

    while (table[n].name)
        n++;
    return n;
}

/* ---- parsing ----------------------------------------------------------------------------------
 */

static bool choose(const opt_entry *o, const char *value, unsigned *ret)
{
    const size_t len = strlen(value);
    unsigned i = 0;

    for (const char *w = o->words; w; i++) {
        const size_t w_len = strcspn(w, " ");

        if (len == w_len && !memcmp(w, value, len)) {
            *ret = i;
            return true;
        }
        w = w[w_len] ? w + w_len + 1 : NULL;
    }
    return false;
}

static void list_add(opt_list *list, const char *value)
{
    list->items = text_realloc(list->items, (list->n + 1) * sizeof *list->items);
    list->items[list->n++] = value;
}

static bool store_number(const opt_entry *o, const char *value, opt_number *ret)
{
    uint64_t n;

    if (!text_number(value, &n) || n < o->min || n > o->max) {
        report_usage("--%s: a number from %" PRIu64 " to %" PRIu64 " is expected, found '%s'",
                     o->name, o->min, o->max, value);
        return false;
    }
    *ret = (opt_number){n, true};
    return true;
}

/* As strtod() in the C locale reads it, but no infinity, no NaN, no hexadecimal. */
static bool store_real(const opt_entry *o, const char *value, opt_real *ret)
{
    char *end;
    const double x = strtod(value, &end);

    if (end == value || *end || strspn(value, "0123456789+-.eE") != strlen(value) ||
        !(x >= (double)o->min && x <= (double)o->max)) {
        report_usage("--%s: a decimal from %" PRIu64 " to %" PRIu64 " is expected, found '%s'",
                     o->name, o->min, o->max, value);
        return false;
    }
    *ret = (opt_real){x, true};
    return true;
}

static bool store(const opt_entry *o, const char *value, void *args)
{
    void *field = (char *)args + o->offset;

    switch (o->kind) {
    case OPT_FLAG:
        *(bool *)field = true;
        return true;
    case OPT_COUNT:
        ++*(unsigned *)field;
        return true;
    case OPT_TEXT:
        *(const char **)field = value;
        return true;
    case OPT_LIST:
        list_add(field, value);
        return true;
    case OPT_NUMBER:
        return store_number(o, value, field);
    case OPT_REAL:
        return store_real(o, value, field);
    case OPT_CHOICE:
        if (choose(o, value, field))
            return true;
        report_usage("--%s: one of '%s' is expected, found '%s'", o->name, o->words, value);
    }
    return false;
}

typedef struct getopt_tables {
    struct option *longs;
    char *shorts;
} getopt_tables;

static getopt_tables tables_new(const opt_entry *table, size_t n)
{
    getopt_tables t = {text_alloc((n + 1) * sizeof *t.longs), text_alloc(2 * n + 2)};
    size_t at = 0;

    t.shorts[at++] = ':'; /* tells a missing value from an unknown option */
    for (size_t i = 0; i < n; i++) {
        t.longs[i] = (struct option){
            .name = table[i].name,
            .has_arg = takes_value(&table[i]) ? required_argument : no_argument,
            .val = (int)(LONG_BASE + i),
        };
        if (!table[i].letter)
            continue;
        t.shorts[at++] = table[i].letter;
        if (takes_value(&table[i]))
            t.shorts[at++] = ':';
    }
    return t;
}

static void complain_unknown(const command *cmd, const char *word)
{
    suggestion near = {0};
    char *name;

    if (word[0] != '-' || word[1] != '-') {
        report_usage("%s: unknown option '-%c'; '%s %s --help' lists them", cmd->name, optopt,
                     command_prefix, cmd->name);
        return;
    }
    name = text_copy(word + 2);
    name[strcspn(name, "=")] = '\0';
    for (const opt_entry *o = cmd->options; o->name; o++)
        suggest_try(&near, name, o->name);
    if (near.word)
        report_usage("%s: unknown option '--%s'; did you mean '--%s'?", cmd->name, name, near.word);
    else
        report_usage("%s: unknown option '--%s'; '%s %s --help' lists them", cmd->name, name,
                     command_prefix, cmd->name);
    free(name);
}

/* getopt said '?': an unknown or ambiguous option, or a value for a flag. */
static void complain(const command *cmd, const char *word)
{
    const size_t len = word[0] == '-' && word[1] == '-' ? strcspn(word + 2, "=") : 0;
    size_t n_like = 0;

    if (optopt >= LONG_BASE) {
        report_usage("%s: option '--%s' takes no value", cmd->name,
                     cmd->options[optopt - LONG_BASE].name);
        return;
    }
    for (const opt_entry *o = cmd->options; len && o->name; o++)
        n_like += !strncmp(o->name, word + 2, len);
    if (n_like > 1)
        report_usage("%s: option '%s' is ambiguous", cmd->name, word);
    else
        complain_unknown(cmd, word);
}

static const opt_entry *entry_of(const opt_entry *table, int code)
{
    if (code >= LONG_BASE)
        return &table[code - LONG_BASE];
    for (; table->name; table++) {
        if (table->letter == code)
            return table;
    }
    return NULL;
}

static bool parse_all(const command *cmd, const getopt_tables *t, int argc, char **argv, void *args)
{
    optind = 0; /* glibc: start afresh */
    opterr = 0;
    for (;;) {
        const int at = optind ? optind : 1;
        const int code = getopt_long(argc, argv, t->shorts, t->longs, NULL);
        const char *word = argv[optind > at ? optind - 1 : at];
        const opt_entry *o;

        if (code == -1)
            return true;
        if (code == ':') {
            o = entry_of(cmd->options, optopt);
            report_usage("%s: option '--%s' needs a value", cmd->name, o ? o->name : "?");
            return false;
        }
        o = code == '?' ? NULL : entry_of(cmd->options, code);
        if (!o) {
            complain(cmd, word ? word : "");
            return false;
        }
        if (!store(o, optarg, args))
            return false;
    }
}

opt_outcome opts_parse(const command *cmd, int argc, char **argv, void *args, char ***ret_operands,
                       size_t *ret_n)
{
    getopt_tables t = tables_new(cmd->options, count_options(cmd->options));
    const bool good = parse_all(cmd, &t, argc, argv, args);
    size_t n;

    free(t.longs);
    free(t.shorts);
    if (!good)
        return OPTS_BAD;
    if (((const common_args *)args)->help) {
        opts_print_help(cmd, stdout);
        return OPTS_DONE;
    }
    n = (size_t)(argc - optind);
    if (n < cmd->min_operands || n > cmd->max_operands) {
        report_usage("%s: %s operand; usage: %s %s%s%s", cmd->name,
                     n < cmd->min_operands ? "missing" : "extra", command_prefix, cmd->name,
                     *cmd->operands ? " " : "", cmd->operands);
        return OPTS_BAD;
    }
    *ret_operands = argv + optind;
    *ret_n = n;
    return OPTS_RUN;
}

void opts_release(const command *cmd, void *args)
{
    for (const opt_entry *o = cmd->options; o->name; o++) {
        if (o->kind == OPT_LIST) {
            opt_list *list = (opt_list *)(void *)((char *)args + o->offset);

            free(list->items);
            *list = (opt_list){0};
        }
    }
}

/* ---- help -------------------------------------------------------------------------------------
 */

/* How much of a word of `len` bytes goes on a line of `room`: all, or up to a '|' that fits. */
static size_t fitting_part(const char *word, size_t len, size_t room)
{
    size_t part = len > room ? room : len;

    while (part < len && part && word[part - 1] != '|')
        part--;
    return part ? part : len;
}

/* Prints `text` in lines that start in column `indent` and stay within HELP_WIDTH; the first line
 * has been begun and stands at column `at`. */
static void print_wrapped(FILE *to, const char *text, size_t at, size_t indent)
{
    while (*text) {
        const size_t more = strspn(text, " "); /* spaces beyond the one between two words */
        const size_t len =
            fitting_part(text + more, strcspn(text + more, " \n"), HELP_WIDTH - indent);

        if (at > indent && at + 1 + more + len > HELP_WIDTH) {
            fputc('\n', to);
            at = 0;
        } else if (at > indent) {
            fprintf(to, "%*s", (int)(1 + more), "");
            at += 1 + more;
        }
        if (at < indent) {
            fprintf(to, "%*s", (int)(indent - at), "");
            at = indent;
        }
        fwrite(text + more, 1, len, to);
        at += len;
        text += more + len;
        if (*text == '\n') {
            fputc('\n', to);
            at = 0;
        }
        text += *text == ' ' || *text == '\n';
    }
    fputc('\n', to);
}

static char *describe(const opt_entry *o)
{
    char *words, *s;

    if (o->kind == OPT_NUMBER && o->max < UINT32_MAX)
        return text_format("%s (%" PRIu64 " to %" PRIu64 ")", o->help, o->min, o->max);
    if (o->kind != OPT_CHOICE)
        return text_copy(o->help);
    words = text_copy(o->words);
    for (char *p = words; *p; p++)
        *p = *p == ' ' ? '|' : *p;
    s = text_format("%s (%s)", o->help, words);
    free(words);
    return s;
}

static void print_option(const opt_entry *o, FILE *to)
{
    char *text = describe(o);
    int n = o->letter ? fprintf(to, "  -%c, --%s", o->letter, o->name)
                      : fprintf(to, "      --%s", o->name);

    if (takes_value(o))
        n += fprintf(to, "=%s", o->arg);
    if (n > HELP_COLUMN - 2) {
        fputc('\n', to);
        n = 0;
    }
    print_wrapped(to, text, (size_t)n, HELP_COLUMN);
    free(text);
}

void opts_print_help(const command *cmd, FILE *to)
{
    char *summary = text_format("%s.", cmd->summary);

    fprintf(to, "Usage: %s %s [OPTION]...%s%s\n\n", command_prefix, cmd->name,
            *cmd->operands ? " " : "", cmd->operands);
    summary[0] = (char)toupper((unsigned char)summary[0]);
    print_wrapped(to, summary, 0, 0);
    fputs("\nOptions:\n", to);
    for (const opt_entry *o = cmd->options; o->name; o++)
        print_option(o, to);
    if (cmd->notes) {
        fputc('\n', to);
        print_wrapped(to, cmd->notes, 0, 0);
    }
    free(summary);
}

/* ---- manual -----------------------------------------------------------------------------------
 */

/* scdoc takes underscores and stars for markup. */
static void print_man_text(const char *s, FILE *to)
{
    for (; *s; s++) {
        if (strchr("_*\\", *s))
            fputc('\\', to);
        fputc(*s, to);
    }
}

static void print_man_name(const opt_entry *o, const char *between, FILE *to)
{
    if (o->letter)
        fprintf(to, "*-%c*%s", o->letter, between);
    if (!o->letter || *between)
        fprintf(to, "*--%s*", o->name);
    if (takes_value(o))
        fprintf(to, "%s_%s_", *between || !o->letter ? "=" : " ", o->arg);
}

void opts_print_man_synopsis(const command *cmd, FILE *to)
{
    fprintf(to, "*%s %s*%s", command_prefix, cmd->name, *cmd->operands ? " " : "");
    print_man_text(cmd->operands, to);
    for (const opt_entry *o = cmd->options; o->name; o++) {
        fputs(" \\[", to);
        print_man_name(o, "", to);
        fputs(o->kind == OPT_LIST || o->kind == OPT_COUNT ? "]..." : "]", to);
    }
    fputc('\n', to);
}

void opts_print_man_options(const command *cmd, FILE *to)
{
    for (const opt_entry *o = cmd->options; o->name; o++) {
        char *text = describe(o);

        text[0] = (char)toupper((unsigned char)text[0]);
        print_man_name(o, ", ", to);
        fputs("\n\t", to);
        print_man_text(text, to);
        fputs(".\n\n", to);
        free(text);
    }
}
