/*
 * The hash table of a vocabulary, and the longest match in it.
 */
#include "data/wordpiece.h"

#include <assert.h>
#include <string.h>

#include "core/mem.h"

/* FNV-1a (Fowler, Noll, Vo; RFC 9923), 64 bits: it can be carried on byte by byte. */
#define HASH_START 0xcbf29ce484222325u
#define HASH_PRIME 0x100000001b3u

static uint64_t hash_more(uint64_t h, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)text[i]) * HASH_PRIME;
    return h;
}

static uint32_t first_slot(const fish_wordpiece *w, uint64_t h)
{
    return (uint32_t)(h ^ h >> 32) & (w->n_slots - 1);
}

bool fish_wordpiece_init(fish_wordpiece *w, uint32_t n_pieces, size_t text_len)
{
    uint32_t n_slots = 16;

    if (n_pieces > UINT32_MAX / 4)
        return false;
    while (n_slots < 2 * n_pieces)
        n_slots *= 2;
    memset(w, 0, sizeof *w);
    w->text = fish_alloc(text_len, 1);
    w->pieces = fish_alloc(n_pieces, sizeof *w->pieces);
    w->slots = fish_calloc(n_slots, sizeof *w->slots);
    if (!w->text || !w->pieces || !w->slots) {
        fish_wordpiece_release(w);
        return false;
    }
    w->text_cap = text_len;
    w->cap = n_pieces;
    w->n_slots = n_slots;
    return true;
}

void fish_wordpiece_release(fish_wordpiece *w)
{
    fish_free(w->text);
    fish_free(w->pieces);
    fish_free(w->slots);
    memset(w, 0, sizeof *w);
}

/* The slot of the piece that reads head then tail, or the empty slot where it would be. */
static uint32_t *find_slot(const fish_wordpiece *w, uint64_t h, const char *head, size_t head_len,
                           const char *tail, size_t tail_len)
{
    for (uint32_t i = first_slot(w, h);; i = (i + 1) & (w->n_slots - 1)) {
        const fish_piece *p;

        if (!w->slots[i])
            return &w->slots[i];
        p = &w->pieces[w->slots[i] - 1];
        if (p->len == head_len + tail_len && !memcmp(w->text + p->at, head, head_len) &&
            !memcmp(w->text + p->at + head_len, tail, tail_len))
            return &w->slots[i];
    }
}

void fish_wordpiece_add(fish_wordpiece *w, const char *text, size_t len, int32_t id)
{
    uint32_t *slot = find_slot(w, hash_more(HASH_START, text, len), "", 0, text, len);

    if (*slot) {
        w->pieces[*slot - 1].id = id;
        return;
    }
    assert(w->n_pieces < w->cap && len <= w->text_cap - w->text_len && len <= UINT32_MAX);
    memcpy(w->text + w->text_len, text, len);
    w->pieces[w->n_pieces] = (fish_piece){w->text_len, (uint32_t)len, id};
    w->text_len += len;
    *slot = ++w->n_pieces;
    if (w->longest < len)
        w->longest = (uint32_t)len;
}

int32_t fish_wordpiece_find(const fish_wordpiece *w, const char *text, size_t len)
{
    const uint32_t slot = *find_slot(w, hash_more(HASH_START, text, len), "", 0, text, len);

    return slot ? w->pieces[slot - 1].id : -1;
}

/* The longest piece that starts `rest` (behind the prefix, unless `first`), or -1. */
static int32_t longest_piece(const fish_wordpiece *w, const char *rest, size_t len, bool first,
                             size_t *ret_len)
{
    const size_t head_len = first ? 0 : w->prefix_len;
    uint64_t hashes[FISH_MAX_WORD];
    size_t ends[FISH_MAX_WORD];
    uint32_t n = 0;
    uint64_t h = hash_more(HASH_START, w->prefix, head_len);

    for (size_t at = 0; at < len;) {
        size_t end = at + 1;

        while (end < len && ((unsigned char)rest[end] & 0xc0) == 0x80)
            end++;
        if (head_len + end > w->longest)
            break;
        h = hash_more(h, rest + at, end - at);
        hashes[n] = h;
        ends[n++] = end;
        at = end;
    }
    while (n--) {
        const uint32_t slot = *find_slot(w, hashes[n], w->prefix, head_len, rest, ends[n]);

        if (slot) {
            *ret_len = ends[n];
            return w->pieces[slot - 1].id;
        }
    }
    return -1;
}

uint32_t fish_wordpiece_cut(const fish_wordpiece *w, const char *word, size_t len, uint32_t n_chars,
                            int32_t *ids)
{
    uint32_t n = 0;

    for (size_t at = 0; n_chars <= w->max_chars && at < len;) {
        size_t piece_len;
        const int32_t id = longest_piece(w, word + at, len - at, at == 0, &piece_len);

        if (id < 0) {
            n = 0;
            break;
        }
        ids[n++] = id;
        at += piece_len;
    }
    if (!n)
        ids[n++] = w->unknown;
    return n;
}
