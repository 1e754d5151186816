/*
 * What the files of the BERT model share: its dimensions and the numbers of its parameters.
 *
 *   R rows (tokens of the batch, packed)   H hidden   I intermediate   A heads   D = H / A
 */
#ifndef FISH_BERT_H
#define FISH_BERT_H

#include "model/params.h"

typedef struct bert_linear {
    uint32_t weight, bias; /* (out, in), (out) */
} bert_linear;

typedef struct bert_norm {
    uint32_t gain, bias; /* (H) */
} bert_norm;

typedef struct bert_layer {
    bert_linear query, key, value, attention_out; /* (H, H) */
    bert_norm attention_norm;
    bert_linear up, down; /* (I, H), (H, I) */
    bert_norm output_norm;
} bert_layer;

typedef enum bert_activation { BERT_GELU, BERT_GELU_TANH, BERT_RELU } bert_activation;

typedef struct bert {
    uint32_t n_layers, hidden, heads, intermediate;
    uint32_t vocab, max_position, types;
    bert_activation activation;
    bool mean; /* the classifier takes the mean of an example's rows; no pooler */
    double eps, dropout, attention_dropout, classifier_dropout;
    uint32_t word, position, type; /* tables: (V, H), (max_position, H), (types, H) */
    bert_norm embedding_norm;
    bert_layer *layers;
    bert_linear pooler, classifier; /* (H, H), (n_outputs, H) */
} bert;

fish_work *fish_bert_work_new(const fish_model *m);
void fish_bert_work_free(fish_work *w);
fmp_status fish_bert_forward(const fish_model *m, fish_work *w, const fish_batch *b,
                             const fish_pass *pass, float *outputs, fmp_error *err);
fmp_status fish_bert_backward(const fish_model *m, fish_work *w, const fish_batch *b,
                              const float *d_outputs, fish_sink *sink, fmp_error *err);

#endif
