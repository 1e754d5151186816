#!/usr/bin/env python3
"""Measures fmpatch squash on a chain of steps.  usage: squash.py [--build DIR] [--work DIR]
                                                        [--steps N] [--density PERCENT] [--mib N]

A bf16 model of random weights goes through N steps; each changes a share of the weights, drawn anew,
by one step of its bit pattern up or down (seeds fixed).  The N patches become one without the base,
with one thread and with two; the patch from the first model to the last is created beside it, and the
two must do the same.  Prints a Markdown table: changed input elements a second and core, peak memory,
and sizes.  Medians of three runs, warm cache.  Needs numpy.
"""
import argparse
import json
import os
import subprocess
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import checkpoint  # noqa: E402
import measure  # noqa: E402

COLUMNS = 1024
TENSOR = 4 << 20


def write_model(path, tensors):
    entries = [("layers.%d.weight" % i, "BF16", [len(t) // COLUMNS, COLUMNS], 2 * len(t)) for i, t in enumerate(tensors)]
    with open(path, "wb") as f:
        f.write(checkpoint.head(entries, {"format": "pt"}))
        for t in tensors:
            f.write(t.tobytes())


def move(rng, weights, density):
    """One step up or down for a share of the weights; never through zero."""
    hit = rng.random(len(weights), dtype=np.float32) < density
    up = (rng.random(len(weights), dtype=np.float32) < 0.5) | ((weights & 0x7FFF) == 0)
    return (weights.astype(np.int32) + np.where(hit, np.where(up, 1, -1), 0)).astype(np.uint16)


def output(*argv):
    return subprocess.run(list(map(str, argv)), check=True, stdout=subprocess.PIPE, text=True).stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--work", default="build/bench-squash")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--density", type=float, default=1.0)
    parser.add_argument("--mib", type=int, default=1024)
    args = parser.parse_args()
    os.makedirs(args.work, exist_ok=True)
    fmpatch = os.path.join(args.build, "tools", "fmpatch")
    path = lambda name: os.path.join(args.work, name)  # noqa: E731
    n = args.mib << 19
    tensors = [checkpoint.round_bf16(np.random.default_rng([3, i]).normal(0, 0.02, min(TENSOR, n - at)))
               for i, at in enumerate(range(0, n, TENSOR))]
    write_model(path("first.safetensors"), tensors)
    os.replace(path("first.safetensors"), path("m0.safetensors"))
    patches, changed = [], 0
    for s in range(1, args.steps + 1):
        tensors = [move(np.random.default_rng([4, s, i]), t, args.density / 100) for i, t in enumerate(tensors)]
        write_model(path("m%d.safetensors" % s), tensors)
        patch = path("p%d.fmp" % s)
        made = json.loads(output(fmpatch, "create", path("m%d.safetensors" % (s - 1)), path("m%d.safetensors" % s), "-o",
                                 patch, "-f", "-q", "--json"))
        changed += made["changed"]
        patches.append(patch)
        if s > 1:
            os.remove(path("m%d.safetensors" % (s - 1)))
    del tensors
    last = path("m%d.safetensors" % args.steps)
    direct, squashed = path("direct.fmp"), path("squashed.fmp")
    create, _ = measure.run([fmpatch, "create", path("m0.safetensors"), last, "-o", direct, "-f", "-q"], 3, 600)
    rows = []
    for threads in (1, 2):
        cost, _ = measure.run([fmpatch, "squash", *patches, "-o", squashed, "-f", "-q", "--allow-unsigned", "--threads",
                               str(threads)], 3, 600)
        rows.append((threads, cost))
    out = path("made.safetensors")
    output(fmpatch, "apply", path("m0.safetensors"), squashed, "-o", out, "-f", "-q", "--allow-unsigned")
    assert measure.same(out, last), "the squashed patch does not make the last model"
    a, b = os.path.getsize(squashed), os.path.getsize(direct)
    print("%d steps of %g %% on %d MiB of bf16: %.1f M changed input elements, %.1f MB of patches\n"
          % (args.steps, args.density, args.mib, changed / 1e6, sum(map(os.path.getsize, patches)) / 1e6))
    print("| | wall, s | CPU, s | M input elements / s / core | peak, MiB | bytes |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for threads, c in rows:
        print("| squash, %d thread%s | %.2f | %.2f | %.1f | %.0f | %s |" % (threads, "s" * (threads > 1), c.wall, c.cpu,
              changed / 1e6 / c.cpu, c.rss, format(a, ",")))
    print("| create(first, last), 2 threads | %.2f | %.2f | | %.0f | %s |" % (create.wall, create.cpu, create.rss, format(b, ",")))
    print("\nsize: squash / create = %.4f" % (a / b))


if __name__ == "__main__":
    main()
