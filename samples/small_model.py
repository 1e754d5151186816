#!/usr/bin/env python3
"""Makes a small model and a later step of it, always the same two.  usage: small_model.py BASE NEW

Two layers of bf16 weights, fp32 norms and an integer tensor, 0.4 MB; in NEW one weight in a hundred has
moved by a step or two, and the norms have moved a little.  Standard library only.
"""
import array
import json
import random
import struct
import sys

VOCABULARY, HIDDEN, LAYERS = 1000, 64, 2


def bf16(rng, n):
    """n weights around 0.02, as bits."""
    floats = array.array("f", (rng.gauss(0, 0.02) for _ in range(n)))
    return array.array("H", (u >> 16 for u in array.array("I", floats.tobytes())))


def moved(rng, weights):
    out = array.array(weights.typecode, weights)
    for i in range(len(out)):
        if rng.random() < 0.01:
            out[i] += rng.choice((1, 1, 1, 2)) * (1 if rng.random() < 0.5 or not out[i] & 0x7FFC else -1)
    return out


def norms(values):
    return array.array("f", values)


def tensors(rng):
    """[(name, dtype, shape, old, new)]"""
    sizes = [("embed.weight", VOCABULARY)]
    for layer in range(LAYERS):
        sizes += [(f"layers.{layer}.{part}.weight", 4 * HIDDEN) for part in ("attention", "output")]
    out = []
    for name, rows in sizes:
        old = bf16(rng, rows * HIDDEN)
        out.append((name, "BF16", [rows, HIDDEN], old, moved(rng, old)))
    for layer in range(LAYERS):
        old = norms(1 + rng.gauss(0, 0.05) for _ in range(HIDDEN))
        new = norms(x + rng.gauss(0, 1e-4) for x in old)
        out.append((f"layers.{layer}.norm.weight", "F32", [HIDDEN], old, new))
    ids = array.array("q", range(HIDDEN))
    out.append(("position_ids", "I64", [1, HIDDEN], ids, ids))
    return out


def write(path, entries):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, dtype, shape, data in entries:
        length = len(data) * data.itemsize
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + length]}
        at += length
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, _, _, data in entries:
            f.write(data.tobytes())


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    made = tensors(random.Random(1))
    write(sys.argv[1], [(name, dtype, shape, old) for name, dtype, shape, old, _ in made])
    write(sys.argv[2], [(name, dtype, shape, new) for name, dtype, shape, _, new in made])
