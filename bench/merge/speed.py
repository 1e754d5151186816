#!/usr/bin/env python3
"""What merging costs on a large base, beside hashing it and beside mergekit on the same job.

usage: bench/merge/speed.py [--build DIR] [--work DIR] [--layers N] [--runs N] [--k 2,8] [--mergekit PROGRAM]

Makes a base of the shape of a Llama with 2.1 G weights in bf16 (4 GiB; --layers makes it smaller) and patches that
each change 0.5 % of it, from fixed seeds.  Times, in turn and in one run: b2sum of base and of a target, two
processes at once; `fmpatch merge` of k patches; that and `fmpatch apply`, which gives a whole checkpoint; and
mergekit-yaml, which takes the targets whole and gives one.  All files are in the page cache when a clock starts; then
once more each with what the kernel lets go of them dropped.  mergekit gets two targets only: eight would take 36 GiB.
Writes bench/merge/results/speed.md.  What it made is deleted unless --keep.
"""
import argparse
import datetime
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "bench"))
sys.path.insert(0, os.path.join(ROOT, "bench", "fish"))
sys.dont_write_bytecode = True
import checkpoint  # noqa: E402
import measure  # noqa: E402
from common import table  # noqa: E402

HIDDEN, INNER, VOCABULARY = 2048, 8192, 32000
SHARE, SIGMA, MOVE = 0.005, 0.02, 0.002
LIMIT, SLOW = 3600, 60  # seconds: what takes longer than SLOW is run once


def shapes(layers):
    out = {"model.embed_tokens.weight": (VOCABULARY, HIDDEN)}
    for i in range(layers):
        at = "model.layers.%d." % i
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            out[at + "self_attn." + name + ".weight"] = (HIDDEN, HIDDEN)
        for name in ("gate_proj", "up_proj"):
            out[at + "mlp." + name + ".weight"] = (INNER, HIDDEN)
        out[at + "mlp.down_proj.weight"] = (HIDDEN, INNER)
        out[at + "input_layernorm.weight"] = out[at + "post_attention_layernorm.weight"] = (HIDDEN,)
    out["model.norm.weight"] = (HIDDEN,)
    out["lm_head.weight"] = (VOCABULARY, HIDDEN)
    return out


def config(layers):
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN,
            "intermediate_size": INNER, "num_hidden_layers": layers, "num_attention_heads": 16,
            "num_key_value_heads": 16, "vocab_size": VOCABULARY, "tie_word_embeddings": False, "dtype": "bfloat16"}


def widen(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def write_base(path, layers):
    sizes = shapes(layers)
    with open(path, "wb") as f:
        f.write(checkpoint.head([(k, "BF16", list(s), 2 * int(np.prod(s))) for k, s in sizes.items()],
                                {"format": "pt"}))
        for i, shape in enumerate(sizes.values()):
            rng = np.random.default_rng([11, i])
            f.write(checkpoint.round_bf16(SIGMA * rng.standard_normal(int(np.prod(shape)), np.float32)).tobytes())


def write_target(base, path, layers, task):
    """A copy of the base in which SHARE of the weights of each tensor have moved."""
    shutil.copyfile(base, path)
    sizes = shapes(layers)
    at = os.path.getsize(path) - 2 * sum(int(np.prod(s)) for s in sizes.values())
    for i, shape in enumerate(sizes.values()):
        n = int(np.prod(shape))
        rng = np.random.default_rng([13, task, i])
        bits = np.memmap(path, np.uint16, "r+", at, (n,))
        where = np.unique(rng.integers(0, n, int(n * SHARE)))
        moved = widen(bits[where]) + MOVE * rng.standard_normal(len(where), np.float32)
        bits[where] = checkpoint.round_bf16(moved)
        bits.flush()
        del bits
        at += 2 * n


def prepare(args, n):
    """base/, t0/ and t1/ as model directories, and n patches."""
    os.makedirs(args.work, exist_ok=True)
    folder = lambda name: os.path.join(args.work, name)  # noqa: E731
    file = lambda name: os.path.join(folder(name), "model.safetensors")  # noqa: E731
    for name in ("base", "t0", "t1"):
        os.makedirs(folder(name), exist_ok=True)
        with open(os.path.join(folder(name), "config.json"), "w") as f:
            json.dump(config(args.layers), f)
    if not os.path.exists(file("base")):
        write_base(file("base"), args.layers)
    patches = []
    for i in range(n):
        patch, target = os.path.join(args.work, "task%d.fmp" % i), file("t%d" % i) if i < 2 else folder("target")
        patches.append(patch)
        if os.path.exists(patch):
            continue
        write_target(file("base"), target, args.layers, i)
        subprocess.run([args.fmpatch, "create", file("base"), target, "-o", patch, "-q"], check=True)
        if i > 1:
            os.unlink(target)
        print("made", os.path.basename(patch), os.path.getsize(patch), "bytes", flush=True)
    return file("base"), [file("t0"), file("t1")], patches


def mergekit_config(args, method):
    path = os.path.join(args.work, method + ".yaml")
    given = {"task_arithmetic": {"weight": 0.5}, "ties": {"weight": 0.5, "density": 0.002},
             "linear": {"weight": 0.5}}[method]
    with open(path, "w") as f:  # JSON is YAML
        json.dump({"merge_method": method, "dtype": "bfloat16",
                   **({} if method == "linear" else {"base_model": os.path.join(args.work, "base")}),
                   "models": [{"model": os.path.join(args.work, t), "parameters": given} for t in ("t0", "t1")]}, f)
    return path


METHODS = {"linear": ["--method", "linear"],
           "task_arithmetic": ["--method", "task-arithmetic", "--lambda", "0.5"],
           "ties": ["--method", "ties", "--ties", "mergekit", "--density", "0.002"]}


def jobs(args, base, targets, patches):
    """[(label, argv, files that it reads)] in the order of the table."""
    out = os.path.join(args.work, "out")
    merged, whole = out + ".fmp", out + ".safetensors"
    both = "b2sum %s & b2sum %s & wait" % (base, targets[0])
    yield "b2sum of base and target, two at once", ["sh", "-c", both], [base, targets[0]]
    verify = "%s verify -q --threads 1 --base %s %s" % (args.fmpatch, base, patches[0])
    yield "fmpatch verify --base, two at once", ["sh", "-c", "%s & %s & wait" % (verify, verify)], [base, patches[0]]
    for k in args.k:
        for method, options in METHODS.items():
            argv = [args.fmpatch, "merge", *options, base, *patches[:k], "-o", merged, "-f", "-q"]
            yield "fmpatch merge, %s, k = %d" % (method, k), argv, [base, *patches[:k]]
    merge = [args.fmpatch, "merge", *METHODS["ties"], base, *patches[:2], "-o", merged, "-f", "-q"]
    apply = [args.fmpatch, "apply", base, merged, "-o", whole, "-f", "-q", "--allow-unsigned"]
    line = "%s && %s" % (" ".join(merge), " ".join(apply))
    yield "fmpatch merge and apply, ties, k = 2", ["sh", "-c", line], [base, *patches[:2]]
    for method in ("linear", "ties") if args.mergekit else ():
        argv = [args.mergekit, mergekit_config(args, method), out, "--no-copy-tokenizer"]
        yield "mergekit-yaml, %s, k = 2" % method, argv, [base] * (method != "linear") + targets


def drop(paths):
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def measure_all(args, work):
    """{label: [Cost of each warm run] + [Cost of the cold one]}.  Jobs take turns, so that what else the machine does
    falls on all of them."""
    costs = {label: [] for label, _, _ in work}
    for turn in range(args.runs + 1):
        for label, argv, files in work:
            if costs[label] and costs[label][0].wall > SLOW:
                continue
            if turn < args.runs:
                measure.warm(*files)
            else:
                drop(files)
            costs[label].append(measure.run_once(argv, LIMIT))
            c = costs[label][-1]
            print("%-44s %s %6.1f s, %6.1f s of CPU, %5.0f MiB"
                  % (label, "warm" if turn < args.runs else "cold", c.wall, c.cpu, c.rss), flush=True)
            for left in ("out", "out.safetensors"):
                left = os.path.join(args.work, left)
                shutil.rmtree(left) if os.path.isdir(left) else os.path.exists(left) and os.unlink(left)
    return costs


def report(args, costs):
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "?")
    hashing = list(costs)[:2]
    warm = lambda c: c[: args.runs]  # noqa: E731
    middle = lambda c, field: statistics.median(getattr(x, field) for x in warm(c))  # noqa: E731
    rows = []
    for label, c in costs.items():
        # Ratios turn by turn: a job and the hashing of the same turn met the same machine.
        ratios = ["%.2f" % statistics.median(getattr(x, f) / getattr(y, f) for x, y in zip(warm(c), costs[h]))
                  for f in ("wall", "cpu") for h in hashing]
        rows.append([label, "%.1f" % middle(c, "wall"), *ratios[:2], "%.1f" % middle(c, "cpu"), *ratios[2:],
                     "%.0f" % max(x.rss for x in c), "%.1f" % c[-1].wall if len(c) > args.runs else "-"])
    text = ("`bench/merge/speed.py%s`, %s, %d processors, load %.1f when it ended, %s\n\n"
            "Base: the shape of a Llama of %d layers, %s bf16 weights from a fixed seed; each patch changes 0.5 %% of "
            "them. Medians of %d runs with all files in the page cache; the last column is one run after "
            "`posix_fadvise(DONTNEED)` on what it reads. Ratios are to the "
            "first line, and to the second, which hashes as many bytes with this library's BLAKE2b. Memory is the "
            "largest resident set of any run, of one process; mergekit maps its inputs, and what it has read of "
            "them counts. What takes over %d s is run once.\n\n"
            % (" --layers %d" % args.layers if args.layers != 30 else "", cpu, os.cpu_count(), os.getloadavg()[0],
               datetime.date.today().isoformat(), args.layers,
               format(sum(int(np.prod(s)) for s in shapes(args.layers).values()), ","), args.runs, SLOW))
    text += table(["job", "wall, s", "/ b2sum", "/ verify", "CPU, s", "/ b2sum", "/ verify", "memory, MiB", "cold, s"], rows)
    os.makedirs(os.path.join(ROOT, "bench", "merge", "results"), exist_ok=True)
    with open(os.path.join(ROOT, "bench", "merge", "results", "speed.md"), "w") as f:
        f.write(text)
    print(text)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--build", default=os.path.join(ROOT, "build"))
    p.add_argument("--work", default=os.path.join(ROOT, "build-bench", "merge-speed"))
    p.add_argument("--layers", type=int, default=30)
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--k", default="2,8")
    p.add_argument("--mergekit", help="the program mergekit-yaml; without it mergekit is left out")
    p.add_argument("--prepare-only", action="store_true")
    p.add_argument("--keep", action="store_true")
    args = p.parse_args()
    args.k = [int(k) for k in args.k.split(",")]
    args.fmpatch = os.path.join(args.build, "tools", "fmpatch")
    begin = time.time()
    base, targets, patches = prepare(args, max(args.k))
    print("prepared in %.0f s" % (time.time() - begin), flush=True)
    if args.prepare_only:
        return
    report(args, measure_all(args, list(jobs(args, base, targets, patches))))
    if not args.keep:
        shutil.rmtree(args.work)


if __name__ == "__main__":
    main()
