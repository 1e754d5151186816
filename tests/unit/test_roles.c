/*
 * fmp_tensor_role(): names as published models have them, and names that are nobody's.
 */
#include "support.h"

#include <stdio.h>
#include <string.h>

typedef struct known {
    const char *name;
    const char *role;
    int layer, expert;
    bool bias;
} known;

static const known names[] = {
    /* BERT, MiniLM, DistilBERT */
    {"bert.embeddings.word_embeddings.weight", "embed", -1, -1, false},
    {"embeddings.position_embeddings.weight", "embed", -1, -1, false},
    {"embeddings.LayerNorm.weight", "norm", -1, -1, false},
    {"bert.encoder.layer.11.attention.self.query.weight", "q", 11, -1, false},
    {"encoder.layer.0.attention.self.key.bias", "k", 0, -1, true},
    {"encoder.layer.0.attention.self.value.weight", "v", 0, -1, false},
    {"encoder.layer.3.attention.output.dense.weight", "o", 3, -1, false},
    {"encoder.layer.3.attention.output.LayerNorm.bias", "norm", 3, -1, true},
    {"encoder.layer.3.attention.output.LayerNorm.beta", "norm", 3, -1, true},
    {"encoder.layer.3.intermediate.dense.weight", "up", 3, -1, false},
    {"encoder.layer.3.output.dense.bias", "down", 3, -1, true},
    {"pooler.dense.weight", "pool", -1, -1, false},
    {"classifier.weight", "head", -1, -1, false},
    {"classifier.2.weight", "head", -1, -1, false},
    {"cls.predictions.transform.dense.weight", "head", -1, -1, false},
    {"cls.predictions.bias", "head", -1, -1, true},
    {"distilbert.transformer.layer.5.attention.q_lin.weight", "q", 5, -1, false},
    {"distilbert.transformer.layer.5.attention.out_lin.weight", "o", 5, -1, false},
    {"distilbert.transformer.layer.5.sa_layer_norm.weight", "norm", 5, -1, false},
    {"distilbert.transformer.layer.5.ffn.lin2.weight", "down", 5, -1, false},
    /* Llama and kin */
    {"model.embed_tokens.weight", "embed", -1, -1, false},
    {"model.layers.31.self_attn.q_proj.weight", "q", 31, -1, false},
    {"model.layers.31.self_attn.k_proj.bias", "k", 31, -1, true},
    {"model.layers.0.self_attn.v_proj.weight_scale", "v", 0, -1, false},
    {"model.layers.0.self_attn.o_proj.weight", "o", 0, -1, false},
    {"model.layers.0.self_attn.qkv_proj.weight", "qkv", 0, -1, false},
    {"model.layers.0.self_attn.q_norm.weight", "norm", 0, -1, false},
    {"model.layers.0.mlp.gate_proj.weight", "gate", 0, -1, false},
    {"model.layers.0.mlp.up_proj.weight", "up", 0, -1, false},
    {"model.layers.0.mlp.gate_up_proj.weight", "up", 0, -1, false},
    {"model.layers.0.mlp.down_proj.weight", "down", 0, -1, false},
    {"model.layers.0.input_layernorm.weight", "norm", 0, -1, false},
    {"model.norm.weight", "norm", -1, -1, false},
    {"lm_head.weight", "head", -1, -1, false},
    {"base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight", "q", 7, -1, false},
    {"layers.4.attention.wo.weight", "o", 4, -1, false},
    {"layers.4.feed_forward.w1.weight", "gate", 4, -1, false},
    {"layers.4.feed_forward.w2.weight", "down", 4, -1, false},
    {"layers.4.feed_forward.w3.weight", "up", 4, -1, false},
    {"layers.4.ffn_norm.weight", "norm", 4, -1, false},
    {"tok_embeddings.weight", "embed", -1, -1, false},
    {"output.weight", "head", -1, -1, false},
    /* mixtures of experts */
    {"model.layers.2.block_sparse_moe.gate.weight", "router", 2, -1, false},
    {"model.layers.2.block_sparse_moe.experts.7.w1.weight", "gate", 2, 7, false},
    {"model.layers.2.mlp.experts.63.down_proj.weight", "down", 2, 63, false},
    {"model.layers.2.mlp.gate.weight", "router", 2, -1, false},
    {"model.layers.2.mlp.shared_expert.up_proj.weight", "up", 2, -1, false},
    {"model.layers.2.self_attn.kv_a_proj_with_mqa.weight", "qkv", 2, -1, false},
    {"experts.5.w2.weight", "down", -1, 5, false},
    /* GPT-2, GPT-NeoX, T5 */
    {"wte.weight", "embed", -1, -1, false},
    {"transformer.wpe.weight", "embed", -1, -1, false},
    {"transformer.h.9.attn.c_attn.bias", "qkv", 9, -1, true},
    {"h.9.attn.c_proj.weight", "o", 9, -1, false},
    {"h.9.mlp.c_fc.weight", "up", 9, -1, false},
    {"h.9.mlp.c_proj.weight", "down", 9, -1, false},
    {"h.9.ln_1.weight", "norm", 9, -1, false},
    {"ln_f.bias", "norm", -1, -1, true},
    {"gpt_neox.layers.1.attention.query_key_value.weight", "qkv", 1, -1, false},
    {"gpt_neox.layers.1.attention.dense.weight", "o", 1, -1, false},
    {"gpt_neox.layers.1.mlp.dense_h_to_4h.weight", "up", 1, -1, false},
    {"embed_out.weight", "head", -1, -1, false},
    {"shared.weight", "embed", -1, -1, false},
    {"encoder.block.2.layer.0.SelfAttention.q.weight", "q", 2, -1, false},
    {"decoder.block.2.layer.1.EncDecAttention.o.weight", "o", 2, -1, false},
    {"encoder.block.2.layer.1.DenseReluDense.wi_0.weight", "gate", 2, -1, false},
    {"encoder.block.2.layer.1.DenseReluDense.wo.weight", "down", 2, -1, false},
    {"encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", "embed", 0, -1, false},
    /* GGUF */
    {"blk.12.attn_q.weight", "q", 12, -1, false},
    {"blk.12.attn_output.weight", "o", 12, -1, false},
    {"blk.12.ffn_gate.weight", "gate", 12, -1, false},
    {"blk.12.ffn_gate_inp.weight", "router", 12, -1, false},
    {"blk.12.ffn_down_exps.weight", "down", 12, -1, false},
    {"blk.12.attn_norm.weight", "norm", 12, -1, false},
    {"token_embd.weight", "embed", -1, -1, false},
    /* pictures */
    {"conv1.weight", "conv", -1, -1, false},
    {"bn1.running_mean", "norm", -1, -1, false},
    {"layer3.1.conv2.weight", "conv", 3, -1, false},
    {"layer3.1.bn2.bias", "norm", 3, -1, true},
    {"layer2.0.downsample.0.weight", "conv", 2, -1, false},
    {"layer2.0.downsample.1.weight", "norm", 2, -1, false},
    {"fc.weight", "head", -1, -1, false},
    {"blocks.4.attn.qkv.weight", "qkv", 4, -1, false},
    {"blocks.4.attn.proj.weight", "o", 4, -1, false},
    {"blocks.4.mlp.fc1.weight", "up", 4, -1, false},
    {"patch_embed.proj.weight", "embed", -1, -1, false},
    {"pos_embed", "embed", -1, -1, false},
    /* nobody's */
    {"data", "other", -1, -1, false},
    {"0.weight", "other", 0, -1, false},
    {"net.2.bias", "other", 2, -1, true},
    {"layers.4294967296.q_proj", "q", -1, -1, false},
    {"layers.-1.q_proj", "q", -1, -1, false},
    {"", "other", -1, -1, false},
    {"...", "other", -1, -1, false},
    {"q_projection", "other", -1, -1, false},
};

static void known_names_have_their_roles(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        const known *k = &names[i];
        const fmp_tensor_place p = fmp_tensor_role(k->name);

        if (strcmp(fmp_role_name(p.role), k->role) || p.layer != k->layer ||
            p.expert != k->expert || p.bias != k->bias)
            fail_msg("%s: %s, layer %d, expert %d, bias %d", k->name, fmp_role_name(p.role),
                     p.layer, p.expert, p.bias);
    }
    assert_string_equal(fmp_role_name(FMP_ROLE_COUNT), "?");
    assert_string_equal(fmp_role_name((fmp_role)-1), "?");
}

/* Every prefix of every name, and names of nothing but dots or stars: no read past the end. */
static void any_name_is_taken(void **state)
{
    char name[1100];

    (void)state;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        for (size_t len = 0; len <= strlen(names[i].name); len++) {
            snprintf(name, sizeof name, "%.*s", (int)len, names[i].name);
            assert_true(fmp_tensor_role(name).role < FMP_ROLE_COUNT);
        }
    }
    memset(name, '.', 1024);
    name[1024] = 0;
    assert_int_equal(fmp_tensor_role(name).role, FMP_ROLE_OTHER);
    memset(name, '*', 1024);
    assert_int_equal(fmp_tensor_role(name).role, FMP_ROLE_OTHER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_names_have_their_roles),
        cmocka_unit_test(any_name_is_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
