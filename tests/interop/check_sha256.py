#!/usr/bin/env python3
"""Compares the SHA-256 that create puts into manifests with hashlib's, over many layouts of shards.

usage: check_sha256.py [--count N] [--seed S]

create sums weights files from what it reads of their tensors, in the order of the target; so tensors
here lie in another order and in other shards in the target than in the base, are small and large,
come and go, and are tied.  Needs the safetensors package and FMPATCH in the environment; exits 77
without the package.
"""
import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile

try:
    import numpy as np
    from safetensors.numpy import save_file
except ImportError:
    print("skipped: no safetensors package")
    sys.exit(77)


def write(folder, tensors, order, shards):
    """The tensors in `shards` files, in an order of which only the writer decides within one."""
    os.mkdir(folder)
    with open(f"{folder}/config.json", "w") as f:
        json.dump({"shards": shards}, f)
    if shards == 1:
        save_file({name: tensors[name] for name in order}, f"{folder}/model.safetensors")
        return
    where = {}
    for k in range(shards):
        file = f"model-{k + 1:05}-of-{shards:05}.safetensors"
        part = order[k::shards]
        save_file({name: tensors[name] for name in part}, f"{folder}/{file}")
        where.update({name: file for name in part})
    with open(f"{folder}/model.safetensors.index.json", "w") as f:
        json.dump({"metadata": {}, "weight_map": where}, f)


def make_tensors(rng, np_rng):
    base = {}
    for k in range(rng.randint(2, 30)):
        dtype = rng.choice([np.float32, np.float16, np.float64, np.uint8])
        rows = rng.choice([0, 1, 3, 100, rng.randint(1, 2000)])
        base[f"t{rng.randrange(10**6)}.{k}"] = np_rng.integers(0, 99, (rows, 700)).astype(dtype)
    tuned = {name: t.copy() for name, t in base.items()}
    for name, t in list(tuned.items()):
        if rng.random() < 0.1 and len(tuned) > 1:
            del tuned[name]
        elif t.size and rng.random() < 0.7:
            t.flat[:: rng.randint(1, 500)] += 1
    if rng.random() < 0.5:
        tuned["new"] = np_rng.integers(0, 99, (rng.randint(1, 50), 70)).astype(np.float32)
    if rng.random() < 0.5:
        tuned["tied"] = tuned[rng.choice(list(tuned))].copy()
    return base, tuned


def check(case, rng, np_rng, folder, fmpatch):
    """How many sums differ or are missing; 0 is right."""
    sides = dict(zip(("base", "target"), make_tensors(rng, np_rng)))
    for side, tensors in sides.items():
        order = list(tensors)
        rng.shuffle(order)
        write(f"{folder}/{side}", tensors, order, min(rng.randint(1, 4), len(order)))
    patch = f"{folder}/p.fmp"
    subprocess.run([fmpatch, "create", "-q", "--sha256", f"--threads={rng.randint(1, 2)}",
                    f"{folder}/base", f"{folder}/target", "-o", patch],
                   check=True, stdout=subprocess.DEVNULL)
    shown = subprocess.run([fmpatch, "inspect", "--json", patch], check=True, capture_output=True)
    manifest = json.loads(shown.stdout)["manifest"]
    bad = 0
    for side in sides:
        expected = {}
        for name in os.listdir(f"{folder}/{side}"):
            with open(f"{folder}/{side}/{name}", "rb") as f:
                expected[name] = hashlib.sha256(f.read()).hexdigest()
        found = {f["name"]: f.get("sha256") for f in manifest[side]["files"]}
        for name in sorted(expected.keys() | found.keys()):
            if expected.get(name) != found.get(name):
                print(f"case {case}, {side}, {name}: expected {expected.get(name)}, "
                      f"found {found.get(name)}")
                bad += 1
    return bad


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    bad = 0
    for case in range(args.count):
        rng = random.Random(f"{args.seed} {case}")
        np_rng = np.random.default_rng(args.seed * 1000 + case)
        with tempfile.TemporaryDirectory() as folder:
            bad += check(case, rng, np_rng, folder, os.environ["FMPATCH"])
    print(f"{args.count} pairs, {bad} sums that differ")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
