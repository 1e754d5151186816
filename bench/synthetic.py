#!/usr/bin/env python3
"""Builds synthetic checkpoint pairs from fixed seeds.  usage: synthetic.py KIND DTYPE DENSITY ELEMENTS BASE TARGET

  KIND     independent: which weights change does not depend on their value; bf16 moves by one step of
           its bit pattern, fp32 by N(0, 1e-3).
           adam: an optimizer's step of +-lr.  bf16: on fp32 masters w ~ N(0, 0.02), with lr chosen so
           that rounding lets DENSITY of the weights change.  fp32: on a random mask of DENSITY, at 3e-4.
  DTYPE    bf16 or fp32
  DENSITY  per cent of the weights
  ELEMENTS how many weights, or 7b: the tensors of Llama 2 7B (arXiv 2307.09288), 6,738,415,616 weights

Works a part of a tensor at a time, so that a pair may be larger than memory.  Needs numpy.
"""
import math
import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import checkpoint  # noqa: E402

COLUMNS = 1024
PART = 4 << 20  # elements made at a time
SIGMA = 0.02
FP32_LR = np.float32(3e-4)


def independent_bf16(rng, n, density, _lr):
    base = checkpoint.round_bf16(rng.normal(0, SIGMA, n))
    hit = rng.random(n) < density
    up = rng.random(n) < 0.5
    # A step of the bit pattern; never below zero's, which would be another sign or a NaN.
    up |= (base & 0x7FFF) == 0
    step = np.where(up, 1, -1).astype(np.int32)
    return base, (base.astype(np.int32) + np.where(hit, step, 0)).astype(np.uint16)


def adam_bf16(rng, n, _density, lr):
    master = rng.normal(0, SIGMA, n).astype(np.float32)
    step = np.where(rng.random(n) < 0.5, lr, -lr).astype(np.float32)
    return checkpoint.round_bf16(master), checkpoint.round_bf16(master + step)


def independent_fp32(rng, n, density, _lr):
    base = rng.normal(0, SIGMA, n).astype(np.float32)
    hit = rng.random(n) < density
    step = rng.normal(0, 1e-3, n).astype(np.float32)
    return base, np.where(hit, base + step, base)


def adam_fp32(rng, n, density, _lr):
    base = rng.normal(0, SIGMA, n).astype(np.float32)
    hit = rng.random(n) < density
    step = np.where(rng.random(n) < 0.5, FP32_LR, -FP32_LR)
    return base, np.where(hit, base + step, base)


KINDS = {
    ("independent", "bf16"): independent_bf16,
    ("adam", "bf16"): adam_bf16,
    ("independent", "fp32"): independent_fp32,
    ("adam", "fp32"): adam_fp32,
}


def learning_rate(density):
    """The lr at which adam_bf16 changes `density` of the weights, by bisection on a sample."""
    low, high = 1e-9, 1e-2
    for _ in range(40):
        lr = (low * high) ** 0.5
        base, target = adam_bf16(np.random.default_rng(0), 1 << 18, density, lr)
        share = (base != target).mean()
        if abs(share - density) < 0.002 * density:
            break
        low, high = (lr, high) if share < density else (low, lr)
    return np.float32(lr)


def llama_7b():
    """(name, shape) of each tensor, as Hugging Face's checkpoint has them."""
    hidden, inner, words, layers = 4096, 11008, 32000, 32
    yield "model.embed_tokens.weight", [words, hidden]
    for i in range(layers):
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            yield f"model.layers.{i}.self_attn.{name}.weight", [hidden, hidden]
        for name in ("gate_proj", "up_proj"):
            yield f"model.layers.{i}.mlp.{name}.weight", [inner, hidden]
        yield f"model.layers.{i}.mlp.down_proj.weight", [hidden, inner]
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield f"model.layers.{i}.{name}.weight", [hidden]
    yield "model.norm.weight", [hidden]
    yield "lm_head.weight", [words, hidden]


def alike(n):
    """(name, shape) of tensors of PART weights each, and a last one."""
    for i, at in enumerate(range(0, n, PART)):
        yield f"layers.{i}.weight", [min(PART, n - at) // COLUMNS, COLUMNS]


def main(kind, dtype, density, shapes, base_path, target_path):
    """Writes the pair and prints how many weights differ, and of how many."""
    make, density = KINDS[kind, dtype], density / 100
    lr = learning_rate(density) if (kind, dtype) == ("adam", "bf16") else None
    word, width = ("BF16", 2) if dtype == "bf16" else ("F32", 4)
    entries = [(name, word, shape, math.prod(shape) * width) for name, shape in shapes]
    counts = [length // width for _, _, _, length in entries]
    sizes = [min(PART, n - at) for n in counts for at in range(0, n, PART)]
    n_changed = 0
    with open(base_path, "wb") as base_file, open(target_path, "wb") as target_file:
        for f in (base_file, target_file):
            f.write(checkpoint.head(entries, {"format": "pt"}))
        for i, m in enumerate(sizes):
            base, target = make(np.random.default_rng([7, i]), m, density, lr)
            base_file.write(base.tobytes())
            target_file.write(target.tobytes())
            n_changed += int((base != target).sum())
    print(n_changed, sum(sizes))


if __name__ == "__main__":
    if len(sys.argv) != 7:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]),
         llama_7b() if sys.argv[4] == "7b" else alike(int(sys.argv[4])), *sys.argv[5:])
