#!/usr/bin/env python3
"""Makes the task patches that the merging benchmarks take: eight tasks on one MiniLM, trained three ways.

usage: bench/merge/tasks.py [--build DIR] [--data DIR] [--work DIR] [--base FILE] [--threads N]
                            [--seeds 0,1,2] [--steps N] [--kinds fish,random,full]

The data are those of bench/fish/prepare_data.py: the spam task, and seven tasks of three or four classes
made out of disjoint sections of the package descriptions.  For each task, kind and seed it writes to WORK:

    tasks/TASK.{train,valid,test}.jsonl  the texts
    KIND/TASK-SEED.fmp                   the patch: FISH mask of 0.5 %, random mask of 0.5 %, or all weights
    KIND/TASK-SEED.fisher.safetensors    Fisher information of the trained model, for Fisher merging

What is there already is kept, so that an interrupted run goes on.
"""
import argparse
import collections
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fish"))
from common import Bench  # noqa: E402

# Name: sections that are its classes.  No section serves two tasks; spam is a data set of its own.
TASKS = {
    "spam": None,
    "network": ("net", "web", "mail"),
    "science": ("science", "math", "electronics"),
    "media": ("sound", "graphics", "video"),
    "desktop": ("games", "gnome", "kde", "x11"),
    "writing": ("text", "editors", "fonts", "tex"),
    "system": ("admin", "utils", "kernel", "vcs"),
    "packaging": ("libs", "libdevel", "devel", "doc"),
}
KINDS = ("fish", "random", "full")
LEARNING_RATE = {"fish": 3e-3, "random": 1e-2, "full": 1e-4}  # what bench/fish chose on its spam task
RATIO = 0.005
MOST = {"train": 400, "valid": 50, "test": 100}  # examples of one class
TOKENS, BATCH = 32, 16
MASK_SAMPLES, FISHER_SAMPLES = 256, 128
MODEL = ["--pooling", "mean", "--max-tokens", TOKENS]


def write_task(data, task, part, out):
    """The first examples of each class, in the random order that the data are in."""
    sections, count = TASKS[task], collections.Counter()
    with open(os.path.join(data, "debian" if sections else "spam", part + ".jsonl"), encoding="utf-8") as f, \
            open(out, "w", encoding="utf-8") as g:
        for line in f:
            row = json.loads(line)
            label = row["label"]
            if (sections and label not in sections) or count[label] == MOST[part]:
                continue
            count[label] += 1
            g.write(json.dumps({"label": label, "text": row["text"]}, ensure_ascii=False) + "\n")


class Tasks:
    """The files of a work folder, made when they are asked for."""

    def __init__(self, bench, base, steps):
        self.bench, self.base, self.steps = bench, base, steps

    def text(self, task, part):
        return self.bench.path("tasks", "%s.%s.jsonl" % (task, part))

    def patch(self, kind, task, seed):
        return self.bench.path(kind, "%s-%d.fmp" % (task, seed))

    def fisher(self, kind, task, seed):
        return self.bench.path(kind, "%s-%d.fisher.safetensors" % (task, seed))

    def mask(self, kind, task, seed):
        name = "masks/%s-%s-%d" % (kind, task, seed)
        scores, _ = self.bench.scores(self.base, self.text(task, "train"), seed, name, samples=MASK_SAMPLES,
                                      options=MODEL)
        draw = 100 * seed + list(TASKS).index(task)  # a random mask of its own for each task
        mask, _ = self.bench.select(scores, RATIO, name,
                                    ["--source", "random", "--seed", draw] if kind == "random" else [])
        os.unlink(scores)
        return mask

    def train(self, kind, task, seed):
        out = self.patch(kind, task, seed)
        if os.path.exists(out):
            return
        mask = None if kind == "full" else self.mask(kind, task, seed)
        _, got = self.bench.train(self.base, self.text(task, "train"), self.text(task, "valid"),
                                  os.path.join(kind, "%s-%d" % (task, seed)), seed, LEARNING_RATE[kind],
                                  self.steps, mask, MODEL + ["--batch", BATCH, "--task", task])
        print("%-6s %-9s seed %d: %d changed, valid accuracy %.3f, %.0f s"
              % (kind, task, seed, got["changed"], got["valid"]["accuracy"], got["wall"]), flush=True)

    def measure_fisher(self, kind, task, seed):
        """Fisher information at the trained weights, which is what merging takes (arXiv 2111.09832)."""
        out = self.fisher(kind, task, seed)
        if os.path.exists(out):
            return
        tuned, folder = self.bench.path("tuned.safetensors"), os.path.dirname(self.base)
        self.bench.run(self.bench.fmpatch, "apply", self.base, self.patch(kind, task, seed), "-o", tuned, "-f")
        self.bench.run(self.bench.fish, "fisher", tuned, self.text(task, "train"), "-o", out,
                       "--estimator", "expected", "--samples", FISHER_SAMPLES, "--seed", seed,
                       "--config", os.path.join(folder, "config.json"), "--tokenizer", folder, *MODEL)
        os.unlink(tuned)


def options(text, argv=None):
    """The arguments that tasks.py and run.py share."""
    parser = argparse.ArgumentParser(description=text.split("\n")[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--data", default="build-bench/fish-data")
    parser.add_argument("--work", default="build-bench/merge")
    parser.add_argument("--base", default="build-peers/minilm/model.safetensors")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--kinds", default=",".join(KINDS))
    return parser


def open_tasks(args):
    for task in TASKS:
        for part in MOST:
            out = os.path.join(args.work, "tasks", "%s.%s.jsonl" % (task, part))
            if not os.path.exists(out):
                os.makedirs(os.path.dirname(out), exist_ok=True)
                write_task(args.data, task, part, out)
    return Tasks(Bench(args.build, args.data, args.work, args.threads), args.base, args.steps)


def main():
    args = options(__doc__).parse_args()
    tasks = open_tasks(args)
    for seed in map(int, args.seeds.split(",")):
        for task in TASKS:
            for kind in args.kinds.split(","):
                tasks.train(kind, task, seed)
        for task in TASKS:
            for kind in args.kinds.split(","):
                tasks.measure_fisher(kind, task, seed)


if __name__ == "__main__":
    main()
