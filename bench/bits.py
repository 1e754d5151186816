"""Bits per changed weight of profile compact, split, beside what the adaptive model of bound.c would spend.

bound.c knows nothing of the codec: it adds up ideal code lengths and writes nothing.  Standard library
only.
"""
import json
import os
import re
import struct
import subprocess
import tempfile

WIDTH = {"F32": 4, "BF16": 2}
HEADINGS = ["", "positions", "magnitudes", "signs", "sum", "bytes"]


def header(path):
    with open(path, "rb") as f:
        (n,) = struct.unpack("<Q", f.read(8))
        tensors = json.loads(f.read(n))
    tensors.pop("__metadata__", None)
    return tensors, 8 + n


def write_meta(base, target, out):
    """A line for each tensor that both have alike, as the two programs read it; how many."""
    (a, a0), (b, b0) = header(base), header(target)
    count = 0
    for i, (name, t) in enumerate(b.items()):
        if t["dtype"] not in WIDTH or any(a.get(name, {}).get(k) != t[k] for k in ("dtype", "shape")):
            continue
        n = 1
        for d in t["shape"]:
            n *= d
        cols = t["shape"][-1] if len(t["shape"]) > 1 else n
        if n:
            print(i, WIDTH[t["dtype"]], n // cols, cols, a0 + a[name]["data_offsets"][0],
                  b0 + t["data_offsets"][0], file=out)
            count += 1
    return count


def numbers(text):
    return [float(x) for x in re.findall(r"(?<![\w.])\d+(?:\.\d+)?", text)]


def build(folder):
    subprocess.run(["ninja", "-C", folder, "bench/bits", "bench/bound"], check=True,
                   stdout=subprocess.DEVNULL)


def table(folder, base, target, size):
    """Rows of HEADINGS for a pair; `size`: bytes of a patch of profile compact, or None."""
    with tempfile.NamedTemporaryFile("w", suffix=".meta") as meta:
        if not write_meta(base, target, meta):
            return []
        meta.flush()

        def run(program, *more):
            argv = [os.path.join(folder, "bench", program), base, target, meta.name, *more]
            return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()

        bound, ours = run("bound"), run("bits", "3")
    changed = numbers(bound[0])[0]
    if not changed:
        return []
    best = [min(numbers(bound[1])[2:]), numbers(bound[2])[0], min(numbers(bound[3]))]
    mine = numbers(ours[1])[:3]
    others = numbers(ours[2])[1]
    rows = [["adaptive model (bound.c)", *(f"{x:.3f}" for x in best), f"{sum(best):.3f}",
             f"{numbers(bound[4])[0]:,.0f}"],
            ["profile compact, level 3", *(f"{x:.3f}" for x in mine), f"{sum(mine):.3f}",
             f"{sum(numbers(ours[2])[:2]):,.0f}"]]
    if size:
        over = size - sum(numbers(ours[2])[:2])
        rows.append(["digests, tables, frames, manifest", "", "", "", f"{8 * over / changed:.3f}", f"{over:,.0f}"])
        rows.append([f"whole file ({size / numbers(bound[4])[0]:.3f} of the model's bytes)", "", "", "",
                     f"{8 * size / changed:.3f}", f"{size:,}"])
    if others > 0.01 * numbers(ours[2])[0]:
        rows.append(["of these, blocks without a model", "", "", "", f"{8 * others / changed:.3f}", f"{others:,.0f}"])
    return rows
