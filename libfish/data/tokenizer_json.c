/*
 * Reads tokenizer.json as the tokenizers library writes it.  What would give other ids than the
 * library gives is refused here, not later.
 */
#include <string.h>

#include "core/fail.h"
#include "data/tokenizer_read.h"

/* Holds that `object` is one with "type": `type`. */
static fmp_status need_type(const fish_reader *r, const json_t *object, const char *what,
                            const char *type)
{
    const char *found = json_string_value(json_object_get(object, "type"));

    if (!object || (json_is_object(object) && found && strcmp(found, type)) || json_is_null(object))
        return fish_fail(r->err, FMP_ENOTSUP, "%s: %s is %s, expected %s", r->path, what,
                         found ? found : "missing", type);
    if (!found)
        return fish_reader_wrong(r, what, "an object with a type");
    return FMP_OK;
}

static fmp_status read_normalizer(const fish_reader *r, const json_t *root)
{
    const json_t *z = json_object_get(root, "normalizer");
    fish_cleaning *c = &r->t->cleaning;
    fmp_status st = need_type(r, z, "normalizer", "BertNormalizer");

    if (!st)
        st = fish_reader_bool(r, z, "clean_text", &c->clean_text);
    if (!st)
        st = fish_reader_bool(r, z, "handle_chinese_chars", &c->split_chinese);
    if (!st)
        st = fish_reader_bool(r, z, "lowercase", &c->lowercase);
    return st ? st : fish_reader_strip(r, z);
}

static fmp_status read_pieces(const fish_reader *r, json_t *vocab)
{
    const char *text;
    json_t *value;
    size_t n_bytes = 0;
    int32_t id = 0;
    fmp_status st;

    if (!json_is_object(vocab))
        return fish_reader_wrong(r, "model.vocab", "an object");
    json_object_foreach(vocab, text, value) n_bytes += strlen(text);
    if (!fish_wordpiece_init(&r->t->pieces, (uint32_t)json_object_size(vocab), n_bytes))
        return fish_reader_no_memory(r);
    json_object_foreach(vocab, text, value)
    {
        st = fish_reader_id(r, value, text, &id);
        if (st)
            return st;
        fish_wordpiece_add(&r->t->pieces, text, strlen(text), id);
    }
    return FMP_OK;
}

/* Old files have a model without a type. */
static fmp_status read_model(const fish_reader *r, const json_t *root)
{
    const json_t *model = json_object_get(root, "model");
    const char *unknown = json_string_value(json_object_get(model, "unk_token"));
    const char *prefix = json_string_value(json_object_get(model, "continuing_subword_prefix"));
    const json_t *max_chars = json_object_get(model, "max_input_chars_per_word");
    fmp_status st = FMP_OK;

    if (!json_is_object(model))
        return fish_reader_wrong(r, "model", "an object");
    if (json_object_get(model, "type"))
        st = need_type(r, model, "model", "WordPiece");
    if (st)
        return st;
    if (!unknown || !prefix || !json_is_integer(max_chars) || json_integer_value(max_chars) < 0)
        return fish_reader_wrong(r, "model",
                                 "unk_token, continuing_subword_prefix, max_input_chars_per_word");
    if (json_integer_value(max_chars) > FISH_MAX_WORD)
        return fish_fail(r->err, FMP_ENOTSUP, "%s: words of %lld characters, at most %d can be had",
                         r->path, (long long)json_integer_value(max_chars), FISH_MAX_WORD);
    st = read_pieces(r, json_object_get(model, "vocab"));
    if (!st)
        st = fish_reader_prefix(r, prefix);
    r->t->pieces.max_chars = (uint32_t)json_integer_value(max_chars);
    return st ? st : fish_reader_unknown(r, unknown);
}

static fmp_status add_part(const fish_reader *r, fish_template *template, fish_part part)
{
    if (template->n == FISH_MAX_TEMPLATE)
        return fish_fail(r->err, FMP_ENOTSUP, "%s: post_processor: more than %d parts", r->path,
                         FISH_MAX_TEMPLATE);
    template->parts[template->n++] = part;
    return FMP_OK;
}

/* {"SpecialToken": {"id": "[CLS]", "type_id": 0}}: the ids stand in special_tokens. */
static fmp_status read_special(const fish_reader *r, const json_t *specials, const char *name,
                               int32_t type, fish_template *template)
{
    const json_t *ids = json_object_get(json_object_get(specials, name), "ids");
    const json_t *value;
    size_t i;
    fish_part part = {FISH_PART_ID, 0, type};

    if (!json_is_array(ids))
        return fish_reader_wrong(r, name, "its ids in post_processor.special_tokens");
    json_array_foreach(ids, i, value)
    {
        fmp_status st = fish_reader_id(r, value, name, &part.id);

        if (!st)
            st = add_part(r, template, part);
        if (st)
            return st;
    }
    return FMP_OK;
}

static fmp_status read_template_part(const fish_reader *r, const json_t *specials,
                                     const json_t *value, fish_template *template)
{
    const json_t *special = json_object_get(value, "SpecialToken");
    const json_t *body = special ? special : json_object_get(value, "Sequence");
    const json_t *type = json_object_get(body, "type_id");
    const char *id = json_string_value(json_object_get(body, "id"));
    fish_part part = {FISH_PART_A, 0, 0};

    if (!id || !json_is_integer(type) || json_integer_value(type) < 0 ||
        json_integer_value(type) > INT32_MAX)
        return fish_reader_wrong(r, "post_processor", "parts with an id and a type_id");
    part.type = (int32_t)json_integer_value(type);
    if (special)
        return read_special(r, specials, id, part.type, template);
    if (strcmp(id, "A") && strcmp(id, "B"))
        return fish_reader_wrong(r, "post_processor", "sequences A and B");
    part.kind = *id == 'A' ? FISH_PART_A : FISH_PART_B;
    return add_part(r, template, part);
}

static fmp_status read_template(const fish_reader *r, const json_t *post, const char *key,
                                uint32_t n_b, fish_template *template)
{
    const json_t *parts = json_object_get(post, key);
    const json_t *value;
    size_t i;
    uint32_t n[3] = {0, 0, 0};

    if (!json_is_array(parts))
        return fish_reader_wrong(r, key, "a list of parts");
    json_array_foreach(parts, i, value)
    {
        const fmp_status st =
            read_template_part(r, json_object_get(post, "special_tokens"), value, template);

        if (st)
            return st;
    }
    for (i = 0; i < template->n; i++)
        n[template->parts[i].kind]++;
    if (n[FISH_PART_A] != 1 || n[FISH_PART_B] != n_b)
        return fish_reader_wrong(r, key, "each of its sequences once");
    return FMP_OK;
}

static fmp_status read_bert_processing(const fish_reader *r, const json_t *post)
{
    int32_t cls = 0;
    int32_t sep = 0;
    fmp_status st = fish_reader_id(r, json_array_get(json_object_get(post, "cls"), 1),
                                   "post_processor.cls", &cls);

    if (!st)
        st = fish_reader_id(r, json_array_get(json_object_get(post, "sep"), 1),
                            "post_processor.sep", &sep);
    if (!st)
        fish_reader_bert_templates(r->t, cls, sep);
    return st;
}

static fmp_status read_post_processor(const fish_reader *r, const json_t *root)
{
    const json_t *post = json_object_get(root, "post_processor");
    const char *type = json_string_value(json_object_get(post, "type"));
    fmp_status st;

    if (!post || json_is_null(post)) {
        r->t->single = (fish_template){{{FISH_PART_A, 0, 0}}, 1};
        r->t->pair = (fish_template){{{FISH_PART_A, 0, 0}, {FISH_PART_B, 0, 1}}, 2};
        return FMP_OK;
    }
    if (type && !strcmp(type, "BertProcessing"))
        return read_bert_processing(r, post);
    st = need_type(r, post, "post_processor", "TemplateProcessing");
    if (!st)
        st = read_template(r, post, "single", 0, &r->t->single);
    return st ? st : read_template(r, post, "pair", 1, &r->t->pair);
}

/* The library takes the id from the vocabulary, or else the next free one; the file must agree. */
static fmp_status check_added_id(const fish_reader *r, const char *text, int32_t id,
                                 uint32_t *next_id)
{
    const int32_t known = fish_wordpiece_find(&r->t->pieces, text, strlen(text));

    if (known >= 0 ? known == id : (uint32_t)id == (*next_id)++)
        return FMP_OK;
    if (known >= 0)
        return fish_fail(r->err, FMP_ECORRUPT, "%s: added token %s has id %d, in the vocabulary %d",
                         r->path, text, id, known);
    return fish_fail(r->err, FMP_ECORRUPT, "%s: added token %s has id %d, expected %u", r->path,
                     text, id, *next_id - 1);
}

static fmp_status read_added(const fish_reader *r, const json_t *value, uint32_t *next_id)
{
    const char *text = json_string_value(json_object_get(value, "content"));
    fish_added a = {0};
    bool cleaned = false;
    fish_added_set *set;
    fmp_status st;

    if (!text)
        return fish_reader_wrong(r, "added_tokens", "objects with a content");
    if (!*text)
        return FMP_OK; /* as the library does */
    st = fish_reader_id(r, json_object_get(value, "id"), text, &a.id);
    if (!st)
        st = check_added_id(r, text, a.id, next_id);
    if (!st)
        st = fish_reader_bool(r, value, "single_word", &a.single_word);
    if (!st)
        st = fish_reader_bool(r, value, "lstrip", &a.lstrip);
    if (!st)
        st = fish_reader_bool(r, value, "rstrip", &a.rstrip);
    if (!st)
        st = fish_reader_bool(r, value, "normalized", &cleaned);
    if (!st)
        st = fish_reader_added(r, text, cleaned, &a);
    if (st)
        return st;
    set = cleaned ? &r->t->cleaned : &r->t->raw;
    set->tokens[set->n++] = a;
    return FMP_OK;
}

static fmp_status read_all_added(const fish_reader *r, const json_t *root)
{
    const json_t *list = json_object_get(root, "added_tokens");
    uint32_t next_id = r->t->pieces.n_pieces;
    const json_t *value;
    size_t i;

    if (list && !json_is_array(list))
        return fish_reader_wrong(r, "added_tokens", "a list");
    if (!fish_reader_added_room(&r->t->raw, json_array_size(list)) ||
        !fish_reader_added_room(&r->t->cleaned, json_array_size(list)))
        return fish_reader_no_memory(r);
    json_array_foreach(list, i, value)
    {
        const fmp_status st = read_added(r, value, &next_id);

        if (st)
            return st;
    }
    return fish_reader_sort_added(r);
}

static fmp_status read_root(const fish_reader *r, const json_t *root)
{
    const char *version = json_string_value(json_object_get(root, "version"));
    fmp_status st;

    if (!json_is_object(root))
        return fish_reader_wrong(r, "tokenizer", "an object");
    if (version && strcmp(version, "1.0"))
        return fish_fail(r->err, FMP_ENOTSUP, "%s: version %s, expected 1.0", r->path, version);
    st = read_normalizer(r, root);
    if (!st)
        st = need_type(r, json_object_get(root, "pre_tokenizer"), "pre_tokenizer",
                       "BertPreTokenizer");
    if (!st)
        st = read_model(r, root);
    if (!st)
        st = read_post_processor(r, root);
    return st ? st : read_all_added(r, root);
}

fmp_status fish_read_tokenizer_json(const fish_reader *r, const char *text, size_t len)
{
    json_t *root;
    fmp_status st = fish_reader_load(r, text, len, &root);

    if (st)
        return st;
    st = read_root(r, root);
    json_decref(root);
    return st;
}
