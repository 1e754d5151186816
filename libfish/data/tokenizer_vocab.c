/*
 * Reads a plain vocabulary, one piece a line, and the few settings that may lie beside it.
 */
#include <string.h>

#include "core/fail.h"
#include "core/mem.h"
#include "data/tokenizer_read.h"
#include "data/unicode.h"

/* Length without white space at the end.  False: not UTF-8. */
static bool trim_line(const char *line, size_t len, size_t *ret_len)
{
    const char *const end = line + len;
    const char *p = line;

    *ret_len = 0;
    while (p < end) {
        const char *const at = p;
        const uint32_t c = fish_utf8_next(&p, end);

        if (c == FISH_UC_REPLACEMENT && (p - at != 3 || memcmp(at, "\xef\xbf\xbd", 3)))
            return false;
        if (!(fish_uc_flags(c) & FISH_UC_SPACE))
            *ret_len = (size_t)(p - line);
    }
    return true;
}

static fmp_status read_lines(const fish_reader *r, const char *text, size_t len)
{
    const char *const end = text + len;
    uint32_t n = 1; /* and one for a last line without an end */

    for (size_t i = 0; i < len; i++)
        n += text[i] == '\n';
    if (!fish_wordpiece_init(&r->t->pieces, n, len))
        return fish_reader_no_memory(r);
    for (n = 0; text < end; n++) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        size_t line_len;

        if (!stop)
            stop = end;
        if (!trim_line(text, (size_t)(stop - text), &line_len))
            return fish_fail(r->err, FMP_ECORRUPT, "%s: line %u: expected UTF-8", r->path, n + 1);
        fish_wordpiece_add(&r->t->pieces, text, line_len, (int32_t)n);
        text = stop < end ? stop + 1 : end;
    }
    r->t->n_ids = n;
    return FMP_OK;
}

typedef enum special_token { CLS, SEP, UNK, PAD, MASK, N_SPECIAL } special_token;

static const char *const special_keys[N_SPECIAL] = {"cls_token", "sep_token", "unk_token",
                                                    "pad_token", "mask_token"};
static const char *const special_defaults[N_SPECIAL] = {"[CLS]", "[SEP]", "[UNK]", "[PAD]",
                                                        "[MASK]"};

/* Special tokens are looked for in the raw text, as far as the vocabulary has them. */
static fmp_status set_specials(const fish_reader *r, const char *const names[N_SPECIAL])
{
    fish_added_set *set = &r->t->raw;
    int32_t ids[N_SPECIAL];
    fmp_status st = fish_reader_unknown(r, names[UNK]);

    if (st)
        return st;
    if (!fish_reader_added_room(set, N_SPECIAL))
        return fish_reader_no_memory(r);
    for (int i = 0; i < N_SPECIAL; i++) {
        fish_added a = {0};

        ids[i] = fish_wordpiece_find(&r->t->pieces, names[i], strlen(names[i]));
        if (ids[i] < 0 && i <= SEP)
            return fish_fail(r->err, FMP_ECORRUPT, "%s: %s is not in the vocabulary", r->path,
                             names[i]);
        if (ids[i] < 0)
            continue;
        st = fish_reader_added(r, names[i], false, &a);
        if (st)
            return st;
        a.id = ids[i];
        set->tokens[set->n++] = a;
    }
    fish_reader_bert_templates(r->t, ids[CLS], ids[SEP]);
    return fish_reader_sort_added(r);
}

/* A key that may be missing; null counts as missing. */
static fmp_status get_optional_bool(const fish_reader *r, const json_t *config, const char *key,
                                    bool *ret)
{
    const json_t *value = json_object_get(config, key);

    return !value || json_is_null(value) ? FMP_OK : fish_reader_bool(r, config, key, ret);
}

/* tokenizer_config.json: what it does not say is as in BERT's uncased models. */
static fmp_status apply_config(const fish_reader *r, const json_t *config,
                               const char *names[N_SPECIAL])
{
    fish_cleaning *c = &r->t->cleaning;
    fmp_status st;

    if (config && !json_is_object(config))
        return fish_reader_wrong(r, "tokenizer config", "an object");
    *c = (fish_cleaning){true, true, true, true};
    st = get_optional_bool(r, config, "do_lower_case", &c->lowercase);
    if (!st)
        st = get_optional_bool(r, config, "tokenize_chinese_chars", &c->split_chinese);
    if (!st)
        st = fish_reader_strip(r, config);
    for (int i = 0; !st && i < N_SPECIAL; i++) {
        const json_t *value = json_object_get(config, special_keys[i]);

        if (json_is_object(value))
            value = json_object_get(value, "content");
        names[i] = value && !json_is_null(value) ? json_string_value(value) : special_defaults[i];
        if (!names[i] || !*names[i])
            st = fish_reader_wrong(r, special_keys[i], "a token");
    }
    return st;
}

static fmp_status read_config(const char *dir, fish_tokenizer *t, const fish_reader *vocab,
                              fmp_error *err)
{
    const char *names[N_SPECIAL];
    char *path;
    char *text;
    size_t len;
    json_t *config = NULL;
    fmp_status st = fish_reader_slurp(dir, "tokenizer_config.json", &path, &text, &len, err);
    const fish_reader r = {t, path, err};

    if (!st && text)
        st = fish_reader_load(&r, text, len, &config);
    if (!st)
        st = apply_config(&r, config, names);
    if (!st)
        st = set_specials(vocab, names);
    json_decref(config);
    fish_free(text);
    fish_free(path);
    return st;
}

fmp_status fish_read_vocab(const char *dir, fish_tokenizer *t, fmp_error *err)
{
    char *path;
    char *text;
    size_t len;
    fmp_status st = fish_reader_slurp(dir, "vocab.txt", &path, &text, &len, err);
    const fish_reader r = {t, path, err};

    if (!st && !text)
        st = fish_fail(err, FMP_EIO, "%s: neither tokenizer.json nor vocab.txt is there", dir);
    if (!st)
        st = read_lines(&r, text, len);
    t->pieces.max_chars = 100;
    if (!st)
        st = fish_reader_prefix(&r, "##");
    if (!st)
        st = read_config(dir, t, &r, err);
    fish_free(text);
    fish_free(path);
    return st;
}
