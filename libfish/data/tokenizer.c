/*
 * From texts to ids.  A text streams through: added tokens out of the raw text, cleaning, words,
 * pieces; it stops as soon as no more ids are needed.
 */
#include "data/tokenizer.h"

#include <string.h>

#include "core/fail.h"
#include "core/mem.h"
#include "data/tokenizer_parts.h"
#include "data/unicode.h"

typedef struct encoder {
    const fish_tokenizer *t;
    int32_t *ids; /* the first `cap` of them are kept */
    uint32_t cap;
    bool count_all; /* all are counted, for the other text's share depends on it */
    bool no_memory;
    uint64_t n;
    uint32_t n_chars; /* of the word so far; of one that is too long, more than max_chars */
    size_t word_len;
    char word[4 * FISH_MAX_WORD];
    int32_t pieces[FISH_MAX_WORD];
    char *cleaned; /* a cleaned text, where added tokens are looked for in it */
    size_t cleaned_len, cleaned_cap;
} encoder;

static bool wants_more(const encoder *e)
{
    return e->count_all || e->n < e->cap;
}

static void put_id(encoder *e, int32_t id)
{
    if (e->n < e->cap)
        e->ids[e->n] = id;
    e->n++;
}

static void end_word(encoder *e)
{
    uint32_t n;

    if (!e->n_chars)
        return;
    if (e->n_chars > e->t->pieces.max_chars) {
        put_id(e, e->t->pieces.unknown);
    } else {
        n = fish_wordpiece_cut(&e->t->pieces, e->word, e->word_len, e->n_chars, e->pieces);
        for (uint32_t i = 0; i < n; i++)
            put_id(e, e->pieces[i]);
    }
    e->n_chars = 0;
    e->word_len = 0;
}

static void add_to_word(encoder *e, uint32_t c)
{
    if (e->n_chars > e->t->pieces.max_chars)
        return;
    if (e->n_chars++ < e->t->pieces.max_chars)
        e->word_len += fish_utf8_put(c, e->word + e->word_len);
}

/* Takes a cleaned character: words end at white space and around punctuation. */
static bool split_char(void *ctx, uint32_t c)
{
    encoder *e = ctx;
    const unsigned flags = fish_uc_flags(c);

    if (!(flags & (FISH_UC_SPACE | FISH_UC_PUNCT))) {
        add_to_word(e, c);
        return true;
    }
    end_word(e);
    if (flags & FISH_UC_PUNCT) {
        add_to_word(e, c);
        end_word(e);
    }
    return wants_more(e);
}

/* Takes a cleaned character: it is kept in e->cleaned. */
static bool keep_char(void *ctx, uint32_t c)
{
    encoder *e = ctx;

    if (e->cleaned_cap - e->cleaned_len < 4) {
        const size_t cap = e->cleaned_cap ? 2 * e->cleaned_cap : 4096;
        char *grown = fish_realloc(e->cleaned, cap, 1);

        if (!grown) {
            e->no_memory = true;
            return false;
        }
        e->cleaned = grown;
        e->cleaned_cap = cap;
    }
    e->cleaned_len += fish_utf8_put(c, e->cleaned + e->cleaned_len);
    return true;
}

/* Encodes text that holds no added tokens.  False: enough, or out of memory. */
typedef bool (*encode_fn)(encoder *e, const char *text, size_t len);

/* Added tokens give their ids; what lies between them goes to `between`. */
static bool encode_around(encoder *e, const fish_added_set *added, const char *text, size_t len,
                          encode_fn between)
{
    fish_match m = {0};
    size_t covered = 0;

    while (fish_added_find(added, text, len, m.search, covered, &m)) {
        if (covered < m.start && !between(e, text + covered, m.start - covered))
            return false;
        put_id(e, m.id);
        covered = m.end;
        if (!wants_more(e))
            return false;
    }
    return covered == len || between(e, text + covered, len - covered);
}

static bool encode_cleaned(encoder *e, const char *text, size_t len)
{
    const char *const end = text + len;

    while (text < end) {
        if (!split_char(e, fish_utf8_next(&text, end)))
            return false;
    }
    end_word(e);
    return wants_more(e);
}

static bool encode_raw(encoder *e, const char *text, size_t len)
{
    if (e->t->cleaned.n) {
        e->cleaned_len = 0;
        if (!fish_normalize(&e->t->cleaning, text, len, keep_char, e))
            return false;
        return encode_around(e, &e->t->cleaned, e->cleaned, e->cleaned_len, encode_cleaned);
    }
    if (!fish_normalize(&e->t->cleaning, text, len, split_char, e))
        return false;
    end_word(e);
    return wants_more(e);
}

/* At most `cap` ids of one text; *ret_n: how many there are, up to cap unless all are counted. */
static fmp_status encode_text(const fish_tokenizer *t, const char *text, size_t len, int32_t *ids,
                              uint32_t cap, bool count_all, uint64_t *ret_n, fmp_error *err)
{
    encoder e;

    e.t = t;
    e.ids = ids;
    e.cap = cap;
    e.count_all = count_all;
    e.no_memory = false;
    e.n = 0;
    e.n_chars = 0;
    e.word_len = 0;
    e.cleaned = NULL;
    e.cleaned_len = e.cleaned_cap = 0;
    if (len && wants_more(&e))
        (void)encode_around(&e, &t->raw, text, len, encode_raw);
    fish_free(e.cleaned);
    if (e.no_memory)
        return fish_fail(err, FMP_ENOMEM, "out of memory for a text of %zu bytes", len);
    *ret_n = !count_all && e.n > cap ? cap : e.n;
    return FMP_OK;
}

/* The lengths that the library's longest_first leaves of two texts of *a and *b ids. */
static void cut_longest_first(uint64_t *a, uint64_t *b, uint64_t room)
{
    uint64_t *const shorter = *a > *b ? b : a;
    uint64_t *const longer = *a > *b ? a : b;

    if (*a + *b <= room)
        return;
    if (*shorter <= room / 2) {
        *longer = room - *shorter;
    } else {
        *shorter = room / 2;
        *longer = room / 2 + room % 2;
    }
}

static uint32_t part_len(const fish_part *part, uint32_t n_a, uint32_t n_b)
{
    return part->kind == FISH_PART_A ? n_a : part->kind == FISH_PART_B ? n_b : 1;
}

/* The ids of A lie in ids, those of B in types: moves all to their places.  Returns how many. */
static uint32_t lay_out(const fish_template *template, uint32_t n_a, uint32_t n_b, int32_t *ids,
                        int32_t *types)
{
    uint32_t at = 0;

    for (uint32_t i = 0; i < template->n; i++) {
        if (template->parts[i].kind == FISH_PART_A)
            memmove(ids + at, ids, n_a * sizeof *ids);
        at += part_len(&template->parts[i], n_a, n_b);
    }
    at = 0;
    for (uint32_t i = 0; i < template->n; i++) {
        const fish_part *part = &template->parts[i];

        if (part->kind == FISH_PART_B)
            memcpy(ids + at, types, n_b * sizeof *ids);
        else if (part->kind == FISH_PART_ID)
            ids[at] = part->id;
        at += part_len(part, n_a, n_b);
    }
    at = 0;
    for (uint32_t i = 0; i < template->n; i++) {
        for (uint32_t n = part_len(&template->parts[i], n_a, n_b); n; n--)
            types[at++] = template->parts[i].type;
    }
    return at;
}

fmp_status fish_tokenizer_encode(const fish_tokenizer *t, const char *a, size_t a_len,
                                 const char *b, size_t b_len, uint32_t max, int32_t *ids,
                                 int32_t *types, uint32_t *ret_n, fmp_error *err)
{
    const fish_template *const template = b ? &t->pair : &t->single;
    const uint32_t n_special = template->n - (b ? 2 : 1);
    const uint32_t room = max - n_special;
    uint64_t n_a;
    uint64_t n_b = 0;
    fmp_status st;

    if (max < n_special)
        return fish_fail(err, FMP_EUSAGE, "room for %u ids, %u needed for special tokens", max,
                         n_special);
    st = encode_text(t, a, a_len, ids, room, b != NULL, &n_a, err);
    if (!st && b)
        st = encode_text(t, b, b_len, types, room, true, &n_b, err);
    if (st)
        return st;
    cut_longest_first(&n_a, &n_b, room);
    *ret_n = lay_out(template, (uint32_t)n_a, (uint32_t)n_b, ids, types);
    return FMP_OK;
}

uint32_t fish_tokenizer_vocab(const fish_tokenizer *t)
{
    return t->n_ids;
}

void fish_tokenizer_free(fish_tokenizer *t)
{
    if (!t)
        return;
    fish_wordpiece_release(&t->pieces);
    fish_added_release(&t->raw);
    fish_added_release(&t->cleaned);
    fish_free(t);
}
