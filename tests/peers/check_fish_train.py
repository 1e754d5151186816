#!/usr/bin/env python3
"""Compares masked training by fmpatch-fish with the same steps in PyTorch, on a real checkpoint.

usage: check_fish_train.py FMPATCH_FISH FMPATCH MODEL_DIR DATA [--steps N] [--optimizers NAMES]
                           [--threads N]

MODEL_DIR is a BERT-family checkpoint; DATA is JSONL with text and label.  A head is put into a copy
of the checkpoint; fmpatch-fish trains 0.5 % of it on one batch of 16 texts cut to 64 tokens, without
dropout, with weight decay and clipping; fmpatch applies the patch.  PyTorch takes the same steps:
whole gradients times the mask, clip_grad_norm_, torch.optim, unselected weights put back.  For each
optimizer the script prints the largest relative difference of the losses, and the share of selected
weights whose way differs from PyTorch's by more than a thousandth of the longest way.

Exit status 1 when a loss differs by more than 1e-4 or the share is above 0.1 %.  Needs torch and
transformers; exits 77 without them.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import torch
    from safetensors.numpy import load_file
    from transformers import AutoTokenizer, BertForSequenceClassification
    from transformers import get_linear_schedule_with_warmup
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

from check_fish_fisher import make_base, take

BATCH = 16
MAX_TOKENS = 64
SETTINGS = {"adamw": {"lr": 5e-4, "decay": 0.1, "flags": []},
            "sgd": {"lr": 5e-2, "decay": 0.01, "flags": ["--nesterov"]}}


def ours(args, name, base, data, work):
    s = SETTINGS[name]
    log, patch, out = (os.path.join(work, name + x) for x in (".log", ".fmp", ".safetensors"))
    subprocess.run([args.fish, "train", base, data, "-o", patch, "--optimizer", name,
                    "--lr", str(s["lr"]), "--weight-decay", str(s["decay"]), "--clip", "1",
                    "--batch", str(BATCH), "--steps", str(args.steps), "--samples", str(BATCH),
                    "--no-dropout", "--max-tokens", str(MAX_TOKENS), "--log", log,
                    "--threads", str(args.threads), *s["flags"]], check=True)
    subprocess.run([args.fmpatch, "apply", "-q", base, patch, "-o", out], check=True)
    with open(log, encoding="utf-8") as f:
        rows = [json.loads(line) for line in f]
    return load_file(out), [r["loss"] for r in rows if "lr" in r]


def optimizer_of(name, model):
    s = SETTINGS[name]
    groups = [{"params": [p for p in model.parameters() if p.dim() > 1],
               "weight_decay": s["decay"]},
              {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0}]
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=s["lr"])
    return torch.optim.SGD(groups, lr=s["lr"], momentum=0.9, nesterov=True)


def theirs(args, name, directory, rows, classes, masks):
    model = BertForSequenceClassification.from_pretrained(directory).float().eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    inputs = tokenizer([r["text"] for r in rows], truncation=True, padding=True,
                       max_length=MAX_TOKENS, return_tensors="pt")
    labels = torch.tensor([classes.index(r["label"]) for r in rows])
    base = {k: p.detach().clone() for k, p in model.named_parameters()}
    optimizer = optimizer_of(name, model)
    schedule = get_linear_schedule_with_warmup(optimizer, 0, args.steps)
    losses = []
    for _ in range(args.steps):
        loss = model(**inputs, labels=labels).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        for k, p in model.named_parameters():
            p.grad.mul_(masks[k])
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            for k, p in model.named_parameters():
                p.copy_(torch.where(masks[k], p, base[k]))
    return {k: p.detach().numpy() for k, p in model.named_parameters()}, losses


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("fish")
    parser.add_argument("fmpatch")
    parser.add_argument("model_dir")
    parser.add_argument("data")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--optimizers", default="adamw,sgd")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows, classes = take(args.data, BATCH)
    failed = False
    with tempfile.TemporaryDirectory() as work:
        directory = os.path.join(work, "base")
        make_base(args.model_dir, len(classes), directory)
        base_path = os.path.join(directory, "model.safetensors")
        data = os.path.join(work, "batch.jsonl")
        with open(data, "w", encoding="utf-8") as f:
            f.writelines(json.dumps(r) + "\n" for r in rows)
        base = load_file(base_path)
        for name in args.optimizers.split(","):
            got, got_losses = ours(args, name, base_path, data, work)
            masks = {k: torch.from_numpy(got[k].view(np.uint32) != base[k].view(np.uint32))
                     for k in base if base[k].dtype == np.float32}
            want, want_losses = theirs(args, name, directory, rows, classes, masks)
            loss = max(abs(a - b) / b for a, b in zip(got_losses, want_losses, strict=True))
            move = np.concatenate([(want[k] - base[k])[masks[k].numpy()] for k in want])
            diff = np.concatenate([(want[k] - got[k])[masks[k].numpy()] for k in want])
            share = float(np.mean(np.abs(diff) > 1e-3 * np.abs(move).max()))
            print(f"{name}: {len(move)} weights, {args.steps} steps; losses within {loss:.1e}; "
                  f"{share:.3%} of the weights end elsewhere")
            failed |= not loss <= 1e-4 or not share <= 1e-3
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
