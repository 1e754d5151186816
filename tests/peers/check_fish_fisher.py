#!/usr/bin/env python3
"""Compares fmpatch-fish's scores with a PyTorch loop over single examples, on a real checkpoint.

usage: check_fish_fisher.py FMPATCH_FISH MODEL_DIR DATA [--samples N] [--estimators NAMES]
                            [--threads N]

MODEL_DIR is a BERT-family checkpoint; DATA is JSONL with text and label, of which the first N that
make all classes occur are taken.  A head is put into a copy of the checkpoint, both sides score the
same examples cut to 64 tokens, and for each estimator the script prints

  - the largest relative error over the top 1 % of elements, by PyTorch's scores
  - the Jaccard index of the two sets that a global choice of the top 0.5 % makes

Exit status 1 when an error is above 1e-4 or an index below 0.999.  "sampled" is not compared: its
labels are drawn by our own generator.  Needs torch and transformers; exits 77 without them.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import torch
    import transformers
    from safetensors.numpy import load_file
    from transformers import AutoTokenizer, BertForSequenceClassification
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

MAX_TOKENS = 64


def take(path, n):
    """n examples: the first of each class, then the first of all."""
    with open(path, encoding="utf-8") as f:
        rows = [json.loads(line) for line in f]
    rows = [{"text": r["text"], "label": str(r["label"])} for r in rows]
    first = {r["label"]: i for i, r in reversed(list(enumerate(rows)))}
    chosen = sorted(first.values())
    chosen += [i for i in range(len(rows)) if i not in set(chosen)]
    return [rows[i] for i in chosen[:n]], sorted(first)


def make_base(directory, n_classes, out):
    torch.manual_seed(7)
    model = BertForSequenceClassification.from_pretrained(directory, num_labels=n_classes).float()
    model.save_pretrained(out)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        if os.path.exists(os.path.join(directory, name)):
            shutil.copy(os.path.join(directory, name), out)
    return model.eval()


def reference(model, tokenizer, rows, classes, estimator):
    """Scores by name: one example, one backward pass (or one a class) at a time; sums in double."""
    params = dict(model.named_parameters())
    sums = {k: torch.zeros(p.shape, dtype=torch.float64) for k, p in params.items()}
    n_passes = len(classes) if estimator == "expected" else 1
    for row in rows:
        inputs = tokenizer(row["text"], truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        logp = model(**inputs).logits[0].log_softmax(0)
        for c in range(n_passes):
            label = c if estimator == "expected" else classes.index(row["label"])
            grads = torch.autograd.grad(-logp[label], list(params.values()),
                                        retain_graph=c + 1 < n_passes)
            weight = logp[label].exp().item() if estimator == "expected" else 1
            for total, g in zip(sums.values(), grads):
                if estimator in ("snip", "batch-squared"):
                    total += g
                elif estimator == "absolute":
                    total += g.abs()
                else:
                    total += weight * g.double() ** 2
    if estimator == "snip":
        sums = {k: (v * params[k].detach()).abs() for k, v in sums.items()}
    if estimator == "batch-squared":
        sums = {k: v ** 2 for k, v in sums.items()}
    return {k: v.numpy().ravel() for k, v in sums.items()}


def compare(ours, theirs):
    names = sorted(theirs)
    a = np.concatenate([ours[k].ravel().astype(np.float64) for k in names])
    b = np.concatenate([theirs[k] for k in names])
    top = np.argpartition(-b, len(b) // 100)[:len(b) // 100]
    error = np.max(np.abs(a[top] - b[top]) / b[top])
    k = int(len(b) * 0.005)
    chosen = [set(np.argpartition(-v, k)[:k].tolist()) for v in (a, b)]
    jaccard = len(chosen[0] & chosen[1]) / len(chosen[0] | chosen[1])
    return error, jaccard


def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("fish")
    p.add_argument("model")
    p.add_argument("data")
    p.add_argument("--samples", type=int, default=64)
    p.add_argument("--estimators", default="empirical,expected,absolute,snip,batch-squared")
    p.add_argument("--threads", type=int, default=2)
    args = p.parse_args()
    torch.set_num_threads(args.threads)
    transformers.logging.set_verbosity_error()
    rows, classes = take(args.data, args.samples)
    bad = False
    with tempfile.TemporaryDirectory() as work:
        model = make_base(args.model, len(classes), work)
        tokenizer = AutoTokenizer.from_pretrained(args.model)
        data = os.path.join(work, "data.jsonl")
        with open(data, "w", encoding="utf-8") as f:
            f.writelines(json.dumps(r) + "\n" for r in rows)
        for estimator in args.estimators.split(","):
            scores = os.path.join(work, f"{estimator}.safetensors")
            # All examples in one batch, so that their order does not matter to batch-squared.
            subprocess.run([args.fish, "fisher", os.path.join(work, "model.safetensors"), data,
                            "-o", scores, "--samples", str(len(rows)), "--estimator", estimator,
                            "--seed", "1", "--max-tokens", str(MAX_TOKENS), "--threads",
                            str(args.threads), "--batch", str(len(rows))], check=True,
                           stdout=subprocess.DEVNULL)
            ours = load_file(scores)
            theirs = reference(model, tokenizer, rows, classes, estimator)
            if ours.keys() != theirs.keys():
                sys.exit(f"tensors differ: {sorted(ours.keys() ^ theirs.keys())}")
            error, jaccard = compare(ours, theirs)
            good = error <= 1e-4 and jaccard >= 0.999
            bad = bad or not good
            print(f"{estimator:14} {len(rows)} examples  top 1 %: rel. error {error:.2e}  "
                  f"top 0.5 %: Jaccard {jaccard:.6f}  {'ok' if good else 'BAD'}", flush=True)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
