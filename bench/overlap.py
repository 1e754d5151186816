#!/usr/bin/env python3
"""Measures fmpatch overlap and diff.  usage: overlap.py [--build DIR] [--work DIR] [--density PERCENT]
                                               [--mib N] [--runs N]

A bf16 model of random weights is the base of eight patches; each changes a share of the weights, drawn
anew, by one step of its bit pattern up or down (seeds fixed).  How many two of them share, and in how many
they conflict, is counted with numpy and compared.  Prints a Markdown table for 2, 4 and 8 patches: changed
input elements a second and core, peak memory.  Medians, warm cache.  Needs numpy.
"""
import argparse
import json
import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import checkpoint  # noqa: E402
import measure  # noqa: E402
from squash import TENSOR, move, output, write_model  # noqa: E402

PATCHES = 8


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--work", default="build/bench-overlap")
    parser.add_argument("--density", type=float, default=1.0)
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    os.makedirs(args.work, exist_ok=True)
    fmpatch = os.path.join(args.build, "tools", "fmpatch")
    path = lambda name: os.path.join(args.work, name)  # noqa: E731
    n = args.mib << 19
    base = [checkpoint.round_bf16(np.random.default_rng([5, i]).normal(0, 0.02, min(TENSOR, n - at)))
            for i, at in enumerate(range(0, n, TENSOR))]
    write_model(path("base.safetensors"), base)
    patches, changed, first = [], [], None
    for s in range(PATCHES):
        tuned = [move(np.random.default_rng([6, s, i]), t, args.density / 100) for i, t in enumerate(base)]
        write_model(path("tuned.safetensors"), tuned)
        patches.append(path("p%d.fmp" % s))
        made = json.loads(output(fmpatch, "create", path("base.safetensors"), path("tuned.safetensors"), "-o", patches[-1],
                                 "-f", "-q", "--json"))
        changed.append(made["changed"])
        if s == 0:
            first = tuned
        if s == 1:
            both = [(a != b) & (c != b) for a, c, b in zip(first, tuned, base)]
            shared = sum(int(x.sum()) for x in both)
            conflicts = sum(int((a != c)[x].sum()) for a, c, x in zip(first, tuned, both))
    pair = json.loads(output(fmpatch, "overlap", *patches, "--json", "-q"))["pairs"][0]
    assert (pair["shared"], pair["conflicts"]) == (shared, conflicts), (pair, shared, conflicts)
    rows = []
    for verb, k, threads in [("overlap", 2, 1), ("overlap", 4, 1), ("overlap", 8, 1), ("overlap", 8, 2), ("diff", 2, 1)]:
        cost, _ = measure.run([fmpatch, verb, *patches[:k], "-q", "--threads", str(threads)], args.runs, 600)
        rows.append((verb, k, threads, cost))
    print("patches of %g %% of %d MiB of bf16: %.2f M changed elements each\n" % (args.density, args.mib, changed[0] / 1e6))
    print("| | patches | threads | wall, s | CPU, s | M changed input elements / s / core | peak, MiB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for verb, k, threads, c in rows:
        print("| %s | %d | %d | %.2f | %.2f | %.1f | %.0f |" % (verb, k, threads, c.wall, c.cpu,
              sum(changed[:k]) / 1e6 / c.cpu, c.rss))


if __name__ == "__main__":
    main()
