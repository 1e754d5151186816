#!/usr/bin/env python3
"""Fisher scores and masked training steps beside PyTorch's on the CPU, in one run.

usage: speed.py FMPATCH_FISH MODEL_DIR [--data JSONL] [--samples N] [--tokens N] [--steps N]
                [--runs N] [--threads N] [--only fisher|step] [--json FILE]

MODEL_DIR is a BERT-family checkpoint: config.json, tokenizer.json, model.safetensors.  Every
contender runs in a process of its own, one after the other, RUNS times round; the table shows
medians of seconds and the largest peak of memory.  Each text has exactly TOKENS tokens: those of
--data that are long enough (keys text, label), else words drawn from the vocabulary.

"work" leaves out start, imports, loading and (for PyTorch only) tokenizing and choosing the fastest
variant; "process" is everything.  PyTorch's variants are tried on a few examples first, and the
fastest one is measured: attention eager or sdpa, the word embedding's gradient dense or sparse,
chunks of vmap, fused or foreach AdamW.  Needs torch, transformers, tokenizers; exits 77 without.
"""
import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

TIME = "/usr/bin/time"


# ---- data ---------------------------------------------------------------------------------------

def write_data(args, path):
    """args.samples lines of JSON with texts of at least args.tokens tokens."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(os.path.join(args.model, "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    rng = random.Random(1)
    n = 0
    with open(path, "w", encoding="utf-8") as out:
        for text, label in texts(args, tokenizer, rng):
            if len(tokenizer.encode(text).ids) < args.tokens:
                continue
            out.write(json.dumps({"text": text, "label": label}) + "\n")
            n += 1
            if n == args.samples:
                return
    sys.exit(f"{args.data}: only {n} texts have {args.tokens} tokens; expected {args.samples}")


def texts(args, tokenizer, rng):
    if args.data:
        with open(args.data, encoding="utf-8") as f:
            for line in f:
                row = json.loads(line)
                yield row["text"][:4000], str(row["label"])
        return
    # The vocabulary lies roughly in order of frequency: draw by Zipf's law.
    words = [w for w, _ in sorted(tokenizer.get_vocab().items(), key=lambda e: e[1])
             if w.isascii() and w.isalpha()]
    weights = [1 / (r + 3) for r in range(len(words))]
    while True:
        yield " ".join(rng.choices(words, weights, k=args.tokens)), str(rng.randrange(2))


def read_ids(args, path):
    import torch
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(os.path.join(args.model, "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(args.tokens)
    with open(path, encoding="utf-8") as f:
        rows = [json.loads(line) for line in f]
    ids = torch.tensor([tokenizer.encode(r["text"]).ids for r in rows])
    return ids, torch.tensor([int(r["label"] != rows[0]["label"]) for r in rows])


# ---- PyTorch ------------------------------------------------------------------------------------

def model_of(args, attention):
    from transformers import BertForSequenceClassification

    model = BertForSequenceClassification.from_pretrained(
        args.model, num_labels=2, attn_implementation=attention)
    return model.float().eval()


def loss_of(model, ids, labels):
    from torch.nn.functional import cross_entropy

    return cross_entropy(model(input_ids=ids).logits, labels)


def loop(args, ids, labels, n, attention, sparse):
    """Seconds of a loop over n examples, after two that do not count."""
    import torch

    model = model_of(args, attention)
    model.bert.embeddings.word_embeddings.sparse = sparse
    params = list(model.parameters())
    fisher = [torch.zeros_like(p) for p in params]
    begin = 0
    for i in range(-2, n):
        if i == 0:
            begin = time.perf_counter()
        at = max(i, 0)
        grads = torch.autograd.grad(loss_of(model, ids[at:at + 1], labels[at:at + 1]), params)
        with torch.no_grad():
            for f, g in zip(fisher, grads):
                if g.is_sparse:
                    g = g.coalesce()
                    v = g.values()
                    f.index_add_(0, g.indices()[0], v * v)
                else:
                    f.addcmul_(g, g)
    return time.perf_counter() - begin


def vmap(args, ids, labels, n, attention, chunk):
    """The same by torch.func: chunks of examples at once."""
    import torch
    from torch.func import functional_call, grad
    from torch.nn.functional import cross_entropy

    model = model_of(args, attention)
    params = {k: p.detach() for k, p in model.named_parameters()}
    buffers = dict(model.named_buffers())
    fisher = {k: torch.zeros_like(p) for k, p in params.items()}

    def one(p, x, y):
        out = functional_call(model, (p, buffers), (), {"input_ids": x[None]})
        return cross_entropy(out.logits, y[None])

    per_example = torch.func.vmap(grad(one), in_dims=(None, 0, 0))
    begin = 0
    for i in range(-chunk, n, chunk):
        if i == 0:
            begin = time.perf_counter()
        at = max(i, 0)
        grads = per_example(params, ids[at:at + chunk], labels[at:at + chunk])
        for k, g in grads.items():
            fisher[k] += g.square_().sum(0)
    return time.perf_counter() - begin


def steps(args, ids, labels, n, attention, how):
    """Seconds of each of n masked steps of 16 examples, after two that do not count."""
    import torch

    torch.manual_seed(1)
    model = model_of(args, attention).train()
    params = list(model.parameters())
    masks = [(torch.rand(p.shape) < 0.005).float() for p in params]
    optimizer = torch.optim.AdamW(params, lr=5e-4, weight_decay=0, **{how: True})
    seconds = []
    for i in range(n + 2):
        at = i * 16 % (len(ids) - 15)
        begin = time.perf_counter()
        loss_of(model, ids[at:at + 16], labels[at:at + 16]).backward()
        torch._foreach_mul_([p.grad for p in params], masks)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - begin)
    return seconds[2:]


def fastest(variants, try_one):
    """The variant with the fewest seconds; those that do not run are passed over."""
    tried = {}
    for v in variants:
        try:
            tried[v] = try_one(*v)
        except Exception as e:  # noqa: BLE001: a variant that this version cannot run
            print(f"{v}: {type(e).__name__}: {str(e)[:120]}", file=sys.stderr)
    return min(tried, key=tried.get)


def child(args):
    """Runs in its own process; writes what it found as JSON to standard output."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(args.threads)
    ids, labels = read_ids(args, args.child_data)
    n = min(args.samples, len(ids))
    result = {"torch": torch.__version__}
    if args.child == "try-loop":
        result["variant"] = fastest(
            [(a, s) for a in ("eager", "sdpa") for s in (False, True)],
            lambda a, s: loop(args, ids, labels, min(n, 16), a, s))
    elif args.child == "try-vmap":
        result["variant"] = fastest(
            [(a, c) for a in ("eager", "sdpa") for c in (4, 8, 16)],
            lambda a, c: vmap(args, ids, labels, min(n, 16), a, c))
    elif args.child == "try-step":
        result["variant"] = fastest(
            [(a, h) for a in ("eager", "sdpa") for h in ("fused", "foreach")],
            lambda a, h: statistics.median(steps(args, ids, labels, 5, a, h)))
    elif args.child == "loop":
        result["seconds"] = loop(args, ids, labels, n, *json.loads(args.variant))
    elif args.child == "vmap":
        result["seconds"] = vmap(args, ids, labels, n, *json.loads(args.variant))
    elif args.child == "step":
        result["seconds"] = statistics.median(
            steps(args, ids, labels, args.steps, *json.loads(args.variant)))
    json.dump(result, sys.stdout)


# ---- side by side -------------------------------------------------------------------------------

def once(argv, env):
    """What the command printed, its seconds, and the peak of its memory in MiB."""
    with tempfile.NamedTemporaryFile("r") as peak:
        begin = time.perf_counter()
        done = subprocess.run([TIME, "-o", peak.name, "-f", "%M", *argv], env=env,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wall = time.perf_counter() - begin
        if done.returncode:
            sys.exit(f"{argv}: exit {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout, wall, float(peak.read().split()[-1]) / 1024


class Bench:
    def __init__(self, args, work):
        self.args = args
        self.work = work
        self.data = os.path.join(work, "data.jsonl")
        self.scores = os.path.join(work, "scores.safetensors")
        self.base = os.path.join(args.model, "model.safetensors")
        self.env = dict(os.environ, OMP_NUM_THREADS=str(args.threads),
                        MKL_NUM_THREADS=str(args.threads))
        self.found = {}

    def torch(self, kind, variant=None):
        a = self.args
        argv = [sys.executable, os.path.abspath(__file__), a.fish, a.model, "--child", kind,
                "--child-data", self.data, "--samples", str(a.samples), "--tokens", str(a.tokens),
                "--steps", str(a.steps), "--threads", str(a.threads)]
        if variant:
            argv += ["--variant", json.dumps(variant)]
        text, wall, peak = once(argv, self.env)
        return json.loads(text), wall, peak

    def ours_fisher(self):
        a = self.args
        text, wall, peak = once(
            [a.fish, "fisher", self.base, self.data, "-o", self.scores, "-f", "--samples",
             str(a.samples), "--max-tokens", str(a.tokens), "--threads", str(a.threads),
             "--seed", "1", "--json"], self.env)
        return json.loads(text)["seconds"], wall, peak

    def ours_step(self):
        a = self.args
        log = os.path.join(self.work, "log.jsonl")
        _, wall, peak = once(
            [a.fish, "train", self.base, self.data, "-o", os.path.join(self.work, "x.fmp"), "-f",
             "--scores", self.scores, "--ratio", "0.005", "--batch", "16", "--steps",
             str(a.steps + 2), "--max-tokens", str(a.tokens), "--threads", str(a.threads),
             "--clip", "0", "--seed", "1", "--log", log], self.env)
        with open(log, encoding="utf-8") as f:
            at = [row["seconds"] for row in map(json.loads, f) if "seconds" in row]
        return statistics.median(b - a for a, b in zip(at[1:], at[2:])), wall, peak

    def note(self, name, work, wall, peak):
        self.found.setdefault(name, []).append((work, wall, peak))

    def measure(self):
        a = self.args
        chosen = {k: self.torch(f"try-{k}")[0]["variant"]
                  for k in ("loop", "vmap", "step") if a.only in (None, "fisher" if k != "step"
                                                                   else "step")}
        print(f"variants: {chosen}", file=sys.stderr)
        if a.only == "step":
            self.ours_fisher()  # scores for the mask
        for _ in range(a.runs):
            if a.only != "step":
                self.note("fisher: fmpatch-fish", *self.ours_fisher())
                for kind in ("loop", "vmap"):
                    r, wall, peak = self.torch(kind, chosen[kind])
                    self.note(f"fisher: PyTorch {kind} {chosen[kind]}", r["seconds"], wall, peak)
            if a.only != "fisher":
                self.note("step: fmpatch-fish", *self.ours_step())
                r, wall, peak = self.torch("step", chosen["step"])
                self.note(f"step: PyTorch {chosen['step']}", r["seconds"], wall, peak)

    def table(self):
        a = self.args
        print(f"{a.samples} examples and steps of 16, {a.tokens} tokens each, {a.threads} threads, "
              f"medians of {a.runs}\n")
        print("| what | work, s | process, s | peak RSS, MiB | times ours (work) | RSS / ours |")
        print("|---|---:|---:|---:|---:|---:|")
        first = {}
        for name, rows in self.found.items():
            work, wall = (statistics.median(r[i] for r in rows) for i in (0, 1))
            peak = max(r[2] for r in rows)
            ours = first.setdefault(name.split(":")[0], (work, peak))
            print(f"| {name} | {work:.3f} | {wall:.2f} | {peak:.0f} | {work / ours[0]:.2f} | "
                  f"{peak / ours[1]:.2f} |")
        if a.json:
            with open(a.json, "w", encoding="utf-8") as f:
                json.dump(self.found, f, indent=1)


def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("fish")
    p.add_argument("model")
    p.add_argument("--data")
    p.add_argument("--samples", type=int, default=1024)
    p.add_argument("--tokens", type=int, default=64)
    p.add_argument("--steps", type=int, default=30)
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--only", choices=["fisher", "step"])
    p.add_argument("--json")
    p.add_argument("--child")
    p.add_argument("--child-data")
    p.add_argument("--variant")
    args = p.parse_args()
    try:
        import importlib.util as util
        missing = [m for m in ("torch", "transformers", "tokenizers") if not util.find_spec(m)]
    except ImportError:
        missing = ["importlib"]
    if missing:
        print(f"skipped: no {', '.join(missing)}")
        sys.exit(77)
    if args.child:
        child(args)
        return
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(args, work)
        write_data(args, bench.data)
        bench.measure()
        bench.table()


if __name__ == "__main__":
    main()
