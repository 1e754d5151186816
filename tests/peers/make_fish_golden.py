#!/usr/bin/env python3
"""Writes tests/unit/fish_bert_golden.h: outputs and gradients of a tiny BERT as PyTorch has them.

usage: make_fish_golden.py > tests/unit/fish_bert_golden.h

Needs torch and transformers.  Weights and tokens come from a formula that bert_support.h repeats
(all weights are whole numbers of 2^-25), so only results are stored; PyTorch computes in double.
"""
import torch
import transformers
from transformers import BertConfig, BertForSequenceClassification

LENGTHS = (5, 1, 7)
CONFIG = {"vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
          "intermediate_size": 12, "max_position_embeddings": 9, "type_vocab_size": 2,
          "hidden_act": "gelu", "layer_norm_eps": 1e-12, "num_labels": 3}


def mix(a, b):
    return ((a * 7919 + b * 104729 + 12345) * 2654435761) % 2**32


def value(tensor, i):
    return ((mix(tensor, i) >> 8) - 2**23) / 2**25


def literal(x):
    text = "%.9g" % x
    return text + ("f" if "." in text or "e" in text else ".0f")


def array(name, numbers):
    lines = [f"static const float {name}[] = {{"]
    line = "   "
    for x in numbers:
        if len(line) + len(literal(x)) + 2 > 100:
            lines.append(line)
            line = "   "
        line += f" {literal(x)},"
    return "\n".join(lines + [line, "};"])


def main():
    config = BertConfig(**CONFIG, attn_implementation="eager")
    model = BertForSequenceClassification(config).double().eval()
    params = list(model.named_parameters())
    with torch.no_grad():
        for t, (name, p) in enumerate(params):
            one = 1 if name.endswith("LayerNorm.weight") else 0
            numbers = [value(t, i) + one for i in range(p.numel())]
            p.copy_(torch.tensor(numbers).double().view(p.shape))
    rows = sum(LENGTHS)
    ids = [mix(1000, r) >> 8 for r in range(rows)]
    ids = [i % CONFIG["vocab_size"] for i in ids]
    types = [(mix(1001, r) >> 8) % 2 for r in range(rows)]
    longest = max(LENGTHS)
    batch = torch.zeros(3, len(LENGTHS), longest, dtype=torch.long)
    at = 0
    for e, n in enumerate(LENGTHS):
        batch[0, e, :n] = torch.tensor(ids[at:at + n])
        batch[1, e, :n] = torch.tensor(types[at:at + n])
        batch[2, e, :n] = 1
        at += n
    # Token 0 has a gradient here as any other token: texts have no padding to hide.
    model.bert.embeddings.word_embeddings.padding_idx = None
    logits = model(input_ids=batch[0], token_type_ids=batch[1], attention_mask=batch[2]).logits
    d_outputs = torch.tensor([value(1002, i) for i in range(logits.numel())]).double()
    logits.backward(d_outputs.view(logits.shape))

    print(f"""/*
 * Outputs and gradients of a tiny BERT.  Written by tests/peers/make_fish_golden.py with
 * torch {torch.__version__.split('+')[0]} and transformers {transformers.__version__}; not by hand.
 */
#ifndef FISH_BERT_GOLDEN_H
#define FISH_BERT_GOLDEN_H
""")
    print(array("golden_outputs", logits.detach().flatten().tolist()))
    print()
    for t, (_, p) in enumerate(params):
        print(array(f"golden_{t}", p.grad.flatten().tolist()))
    print("\nstatic const struct {\n    const char *name;\n    const float *grad;\n} golden[] = {")
    for t, (name, _) in enumerate(params):
        print(f'    {{"{name}", golden_{t}}},')
    print("};\n\n#endif")


if __name__ == "__main__":
    main()
