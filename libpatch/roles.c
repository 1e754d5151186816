/*
 * Where in a model a tensor stands, told from its name: layer, expert, role.  Knows names only.
 */
#include <string.h>

#include "fmpatch.h"

#define MAX_WORDS 32u

/* One part of a name between dots. */
typedef struct word {
    const char *at;
    size_t len;
} word;

typedef struct habit {
    const char *words; /* that stand side by side in the name; '*' at an end of a word: anything */
    fmp_role role;
} habit;

/* The first that fits decides, so what is more particular stands first. */
static const habit habits[] = {
    /* norms, also inside embeddings and heads */
    {"*norm", FMP_ROLE_NORM},
    {"*Norm", FMP_ROLE_NORM},
    {"norm*", FMP_ROLE_NORM},
    {"ln_*", FMP_ROLE_NORM},
    {"bn*", FMP_ROLE_NORM},
    {"downsample.1", FMP_ROLE_NORM},
    /* embeddings */
    {"*_embeddings", FMP_ROLE_EMBED},
    {"embed_out", FMP_ROLE_HEAD},
    {"embed_*", FMP_ROLE_EMBED},
    {"*_embed", FMP_ROLE_EMBED},
    {"token_embd", FMP_ROLE_EMBED},
    {"position_embd", FMP_ROLE_EMBED},
    {"wte", FMP_ROLE_EMBED},
    {"wpe", FMP_ROLE_EMBED},
    {"shared", FMP_ROLE_EMBED},
    {"relative_attention_bias", FMP_ROLE_EMBED},
    {"cls_token", FMP_ROLE_EMBED},
    {"embeddings", FMP_ROLE_EMBED},
    /* heads that have a layer's words in them */
    {"lm_head", FMP_ROLE_HEAD},
    {"cls.predictions", FMP_ROLE_HEAD},
    {"cls.seq_relationship", FMP_ROLE_HEAD},
    {"classifier", FMP_ROLE_HEAD},
    {"pre_classifier", FMP_ROLE_HEAD},
    {"score", FMP_ROLE_HEAD},
    {"qa_outputs", FMP_ROLE_HEAD},
    {"pooler", FMP_ROLE_POOL},
    /* attention */
    {"q_proj", FMP_ROLE_Q},
    {"query", FMP_ROLE_Q},
    {"q_lin", FMP_ROLE_Q},
    {"to_q", FMP_ROLE_Q},
    {"wq", FMP_ROLE_Q},
    {"attn_q", FMP_ROLE_Q},
    {"q_a_proj", FMP_ROLE_Q},
    {"q_b_proj", FMP_ROLE_Q},
    {"*Attention.q", FMP_ROLE_Q},
    {"k_proj", FMP_ROLE_K},
    {"key", FMP_ROLE_K},
    {"k_lin", FMP_ROLE_K},
    {"to_k", FMP_ROLE_K},
    {"wk", FMP_ROLE_K},
    {"attn_k", FMP_ROLE_K},
    {"*Attention.k", FMP_ROLE_K},
    {"v_proj", FMP_ROLE_V},
    {"value", FMP_ROLE_V},
    {"v_lin", FMP_ROLE_V},
    {"to_v", FMP_ROLE_V},
    {"wv", FMP_ROLE_V},
    {"attn_v", FMP_ROLE_V},
    {"*Attention.v", FMP_ROLE_V},
    {"c_attn", FMP_ROLE_QKV},
    {"query_key_value", FMP_ROLE_QKV},
    {"qkv", FMP_ROLE_QKV},
    {"qkv_proj", FMP_ROLE_QKV},
    {"kv_a_proj_with_mqa", FMP_ROLE_QKV},
    {"kv_b_proj", FMP_ROLE_QKV},
    {"Wqkv", FMP_ROLE_QKV},
    {"attn_qkv", FMP_ROLE_QKV},
    {"in_proj*", FMP_ROLE_QKV},
    {"o_proj", FMP_ROLE_O},
    {"out_proj", FMP_ROLE_O},
    {"out_lin", FMP_ROLE_O},
    {"to_out", FMP_ROLE_O},
    {"attn_output", FMP_ROLE_O},
    {"attention.output.dense", FMP_ROLE_O},
    {"attention.dense", FMP_ROLE_O},
    {"self_attention.dense", FMP_ROLE_O},
    {"self_attn.dense", FMP_ROLE_O},
    {"attn.c_proj", FMP_ROLE_O},
    {"attention.wo", FMP_ROLE_O},
    {"*Attention.o", FMP_ROLE_O},
    {"attn.proj", FMP_ROLE_O},
    /* feed forward */
    {"block_sparse_moe.gate", FMP_ROLE_ROUTER},
    {"mlp.gate", FMP_ROLE_ROUTER},
    {"router", FMP_ROLE_ROUTER},
    {"ffn_gate_inp", FMP_ROLE_ROUTER},
    {"gate_up_proj", FMP_ROLE_UP},
    {"gate_proj", FMP_ROLE_GATE},
    {"ffn_gate*", FMP_ROLE_GATE},
    {"wi_0", FMP_ROLE_GATE},
    {"w1", FMP_ROLE_GATE},
    {"up_proj", FMP_ROLE_UP},
    {"ffn_up*", FMP_ROLE_UP},
    {"wi_1", FMP_ROLE_UP},
    {"wi", FMP_ROLE_UP},
    {"w3", FMP_ROLE_UP},
    {"c_fc", FMP_ROLE_UP},
    {"intermediate.dense", FMP_ROLE_UP},
    {"fc1", FMP_ROLE_UP},
    {"lin1", FMP_ROLE_UP},
    {"linear1", FMP_ROLE_UP},
    {"fc_in", FMP_ROLE_UP},
    {"dense_h_to_4h", FMP_ROLE_UP},
    {"down_proj", FMP_ROLE_DOWN},
    {"ffn_down*", FMP_ROLE_DOWN},
    {"wo", FMP_ROLE_DOWN},
    {"w2", FMP_ROLE_DOWN},
    {"mlp.c_proj", FMP_ROLE_DOWN},
    {"output.dense", FMP_ROLE_DOWN},
    {"fc2", FMP_ROLE_DOWN},
    {"lin2", FMP_ROLE_DOWN},
    {"linear2", FMP_ROLE_DOWN},
    {"fc_out", FMP_ROLE_DOWN},
    {"dense_4h_to_h", FMP_ROLE_DOWN},
    /* pictures, and what is left of heads */
    {"conv*", FMP_ROLE_CONV},
    {"downsample.0", FMP_ROLE_CONV},
    {"shortcut", FMP_ROLE_CONV},
    {"head", FMP_ROLE_HEAD},
    {"heads", FMP_ROLE_HEAD},
    {"fc", FMP_ROLE_HEAD},
    {"output", FMP_ROLE_HEAD},
};

static unsigned split(const char *name, word *words)
{
    unsigned n = 0;

    while (n < MAX_WORDS) {
        const size_t len = strcspn(name, ".");

        words[n++] = (word){name, len};
        if (!name[len])
            break;
        name += len + 1;
    }
    return n;
}

static bool is(const word *w, const char *text)
{
    return w->len == strlen(text) && memcmp(w->at, text, w->len) == 0;
}

/* Whether one word fits a pattern of `len` bytes, a star at its start or its end. */
static bool fits(const word *w, const char *pattern, size_t len)
{
    const bool open_start = pattern[0] == '*';
    const bool open_end = pattern[len - 1] == '*';
    const char *text = pattern + open_start;
    const size_t n = len - open_start - open_end;

    if (w->len < n || (!open_start && !open_end && w->len != n))
        return false;
    return memcmp(open_start ? w->at + w->len - n : w->at, text, n) == 0;
}

/* The number of the word behind the place where the habit's words stand; 0: nowhere. */
static unsigned find_habit(const word *words, unsigned n_words, const char *habit_words)
{
    for (unsigned first = 0; first < n_words; first++) {
        const char *at = habit_words;
        unsigned i = first;

        while (i < n_words) {
            const size_t len = strcspn(at, ".");

            if (!fits(&words[i], at, len))
                break;
            i++;
            at += len;
            if (!*at)
                return i;
            at++;
        }
    }
    return 0;
}

/* Digits only, up to nine of them; -1 for anything else. */
static int32_t number(const char *at, size_t len)
{
    int32_t n = 0;

    if (!len || len > 9)
        return -1;
    for (size_t i = 0; i < len; i++) {
        if (at[i] < '0' || at[i] > '9')
            return -1;
        n = n * 10 + (at[i] - '0');
    }
    return n;
}

/* The first number, on its own or behind "layer"; an expert's is none. */
static int32_t find_layer(const word *words, unsigned n)
{
    static const char stage[] = "layer";
    const size_t len = sizeof stage - 1;

    for (unsigned i = 0; i < n; i++) {
        int32_t found = number(words[i].at, words[i].len);

        if (found < 0 && words[i].len > len && memcmp(words[i].at, stage, len) == 0)
            found = number(words[i].at + len, words[i].len - len);
        if (found >= 0 && !(i && is(&words[i - 1], "experts")))
            return found;
    }
    return -1;
}

static int32_t find_expert(const word *words, unsigned n)
{
    for (unsigned i = 1; i < n; i++) {
        if (is(&words[i - 1], "experts"))
            return number(words[i].at, words[i].len);
    }
    return -1;
}

static bool is_bias(const word *last)
{
    static const char suffix[] = "_bias";
    const size_t len = sizeof suffix - 1;

    return is(last, "bias") || is(last, "beta") ||
           (last->len > len && memcmp(last->at + last->len - len, suffix, len) == 0 &&
            !is(last, "relative_attention_bias"));
}

fmp_tensor_place fmp_tensor_role(const char *name)
{
    word words[MAX_WORDS];
    const unsigned n = split(name, words);
    fmp_tensor_place place = {.role = FMP_ROLE_OTHER};
    unsigned end = n; /* a number behind what the tensor is for is not its layer's */

    for (unsigned i = 0; i < sizeof habits / sizeof *habits; i++) {
        const unsigned behind = find_habit(words, n, habits[i].words);

        if (behind) {
            place.role = habits[i].role;
            end = behind;
            break;
        }
    }
    place.layer = find_layer(words, end);
    place.expert = find_expert(words, n);
    place.bias = is_bias(&words[n - 1]);
    return place;
}

const char *fmp_role_name(fmp_role role)
{
    static const char *const names[FMP_ROLE_COUNT] = {"embed", "q",      "k",    "v",    "qkv",
                                                      "o",     "router", "gate", "up",   "down",
                                                      "norm",  "conv",   "pool", "head", "other"};

    return (unsigned)role < FMP_ROLE_COUNT ? names[role] : "?";
}
