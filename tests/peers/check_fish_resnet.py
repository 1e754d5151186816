#!/usr/bin/env python3
"""Holds libfish's residual networks and perceptrons against PyTorch's.

usage: check_fish_resnet.py FISH_GRAD_IMAGE [--fish FMPATCH_FISH] [-v]

For several config.json, with random weights and running statistics: outputs and the gradient of
every tensor, with running statistics and with those of the batch, and the running statistics after
that, against PyTorch in double precision.  max|a - b| / max|b| of each tensor must be at most 1e-4,
of outputs 1e-5, in one of five draws of weights and images: among a million values some lie so near
0 that the last bit decides what a ReLU lets through, in PyTorch's float arithmetic as well, whose
error is printed beside ours.  Also: what fish_model_new() makes loads into the PyTorch model, and is
spread like PyTorch's own.  With --fish: the scores of `fmpatch-fish fisher` on random images against
a loop over examples, relative error at most 1e-4 on the top 1 %, Jaccard index of the top 0.5 % at
least 0.999.  Needs torch and safetensors; exits 77 without them.
"""
import argparse
import copy
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

try:
    import torch
    from safetensors.torch import load_file, save_file
except ImportError:
    print("skipped: no torch or safetensors package")
    sys.exit(77)

import torch_image_models as models

LIMIT = 1e-4
LIMIT_OUTPUTS = 1e-5
DRAWS = 5

# Statistics that norms go by.  Those of a few values a channel, at the end of the large networks,
# leave float too few digits to compare.
RUNNING = (False,)
BOTH = (False, True)

CASES = {
    "resnet-18, width 16, 28 x 28": (4, BOTH, {
        "model_type": "resnet", "layers": [2, 2, 2, 2], "width": 16, "stem": "small",
        "image_size": 28, "num_labels": 10}),
    "resnet-18, width 16, pooled stem, odd size": (4, BOTH, {
        "model_type": "resnet", "layers": [2, 2, 2, 2], "width": 16, "stem": "small-pool",
        "image_size": [31, 26], "num_labels": 10}),
    "resnet-34, 3 channels, 96 x 96": (1, RUNNING, {
        "model_type": "resnet", "layers": [3, 4, 6, 3], "width": 32, "in_channels": 3,
        "image_size": 96, "num_labels": 10}),
    "resnet-50, 3 channels, 96 x 96": (1, RUNNING, {
        "model_type": "resnet", "layers": [3, 4, 6, 3], "block": "bottleneck", "width": 32,
        "in_channels": 3, "image_size": 96, "num_labels": 100}),
    "bottleneck, eight blocks, 64 x 64": (3, BOTH, {
        "model_type": "resnet", "layers": [2, 2, 2, 2], "block": "bottleneck", "width": 16,
        "in_channels": 3, "image_size": 64, "num_labels": 100}),
    "wide bottleneck, three stages": (3, BOTH, {
        "model_type": "resnet", "layers": [1, 2, 1], "block": "bottleneck", "widths": [8, 12, 20],
        "width_per_group": 128, "stem": "small", "in_channels": 3, "image_size": [20, 24],
        "num_labels": 7, "norm_eps": 1e-3}),
    "cifar resnet-20": (2, BOTH, {
        "model_type": "resnet", "layers": [3, 3, 3], "width": 16, "stem": "small",
        "in_channels": 3, "image_size": 32, "num_labels": 10}),
    "mlp relu": (32, RUNNING, {"model_type": "mlp", "sizes": [784, 256, 128, 10]}),
    "mlp gelu": (32, RUNNING, {"model_type": "mlp", "sizes": [192, 100, 50, 5], "activation": "gelu",
                      "in_channels": 3, "image_size": 8}),
}


def relative(got, want):
    most = want.abs().max().item()
    return (got.double() - want.double()).abs().max().item() / (most if most else 1.0)


def randomise(model):
    """Statistics and affine parts that a trained network could have."""
    for m in model.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.weight.data.uniform_(0.5, 1.5)
            m.bias.data.normal_(0, 0.2)
            m.running_mean.normal_(0, 0.3)
            m.running_var.uniform_(0.5, 2)


def run(model, pixels, d_outputs, batch_mode):
    """Outputs, gradients and running statistics by name."""
    model.train(batch_mode)
    outputs = model(pixels)
    (outputs * d_outputs).sum().backward()
    kept = {k: t for k, t in models.tensors(model).items() if "running" in k}
    return {"outputs": outputs.detach(), **models.gradients(model), **kept}


def compare(program, config, n, model, where, batch_mode):
    state = {k: v.clone().contiguous() for k, v in models.tensors(model).items()}
    base = where / "base"
    base.mkdir(exist_ok=True)
    (base / "config.json").write_text(json.dumps(config))
    save_file(state, base / "model.safetensors")
    pixels = torch.randn(n, *models.image_shape(config))
    d_outputs = torch.randn(n, config.get("num_labels") or config["sizes"][-1])
    save_file({"pixels": pixels, "d_outputs": d_outputs}, where / "batch.safetensors")
    subprocess.run([program, base, where / "batch.safetensors", where / "out.safetensors"]
                   + (["batch"] if batch_mode else []), check=True)
    got = load_file(where / "out.safetensors")

    want = run(copy.deepcopy(model).double(), pixels.double(), d_outputs.double(), batch_mode)
    plain = run(copy.deepcopy(model), pixels, d_outputs, batch_mode)
    assert set(want) == set(got), set(want) ^ set(got)
    return ({k: relative(got[k], want[k]) for k in want},
            {k: relative(plain[k], want[k]) for k in want})


def check_new(program, config, where):
    (where / "new.json").write_text(json.dumps(config))
    subprocess.run([program, "--new", where / "new.json", where / "made", "7"], check=True)
    made = load_file(where / "made" / "model.safetensors")
    model = models.build(config)
    wanted = models.tensors(model)
    inner = model.net if isinstance(model, models.Flat) else model
    missing, unexpected = inner.load_state_dict(made, strict=False)
    problems = [f"{k} missing" for k in missing if not k.endswith("num_batches_tracked")]
    problems += [f"{k} unexpected" for k in unexpected]
    for name, t in models.build(config).state_dict().items():
        name = name.removeprefix("net.")
        if name not in wanted or t.numel() < 1000 or not t.std():
            continue
        ratio = made[name].std().item() / t.std().item()
        if abs(ratio - 1) > 0.2 or abs(made[name].mean()) > 0.2 * t.std():
            problems.append(f"{name}: {ratio:.3f} times PyTorch's spread")
    return problems


def write_idx(path, array):
    dims = struct.pack(f">{array.dim()}I", *array.shape)
    path.write_bytes(bytes([0, 0, 8, array.dim()]) + dims + bytes(array.flatten().tolist()))


def check_fisher(fish, title, config, where, n=32):
    """The empirical Fisher information of n examples."""
    model = models.build(config)
    randomise(model)
    base = where / "fisher"
    base.mkdir()
    (base / "config.json").write_text(json.dumps(config))
    save_file({k: v.contiguous() for k, v in models.tensors(model).items()},
              base / "model.safetensors")
    classes = config.get("num_labels") or config["sizes"][-1]
    images = torch.randint(0, 256, (n, *models.image_shape(config)[1:]))
    labels = torch.arange(n) % classes
    write_idx(where / "x-images.idx", images)
    write_idx(where / "x-labels.idx", labels)
    subprocess.run([fish, "fisher", base, where / "x-images.idx", "-o", where / "s.safetensors",
                    "--samples", str(n), "--threads", "2"], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    got = load_file(where / "s.safetensors")

    model = model.double().eval()
    inner = model.net if isinstance(model, models.Flat) else model
    scores = {k: torch.zeros_like(p) for k, p in inner.named_parameters()}
    pixels = (images.double()[:, None] / 255 - 0.5) / 0.5
    for e in range(n):
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(pixels[e:e + 1]), labels[e:e + 1]).backward()
        for k, p in inner.named_parameters():
            scores[k] += p.grad ** 2
    want = torch.cat([scores[k].flatten() for k in scores])
    flat = torch.cat([got[k].double().flatten() for k in scores])
    top = want.topk(max(1, len(want) // 100)).indices
    error = ((flat - want)[top].abs() / want[top]).max().item()
    k = max(1, len(want) // 200)
    a, b = set(want.topk(k).indices.tolist()), set(flat.topk(k).indices.tolist())
    jaccard = len(a & b) / len(a | b)
    good = error <= LIMIT and jaccard >= 0.999
    print(f"{title}, Fisher of {n} examples: top 1 % within {error:.1e}, Jaccard {jaccard:.4f}"
          f"{'' if good else ': over the limit'}")
    return good


def draw(how, program, config, n, where, batch_mode, verbose):
    """Whether one draw of weights and images agrees; says how well."""
    model = models.build(config)
    randomise(model)
    errors, plain = compare(program, config, n, model, where, batch_mode)
    worst = max((e, k) for k, e in errors.items() if k != "outputs")
    bad = {k: e for k, e in errors.items()
           if not e <= (LIMIT_OUTPUTS if k == "outputs" else LIMIT)}
    print(f"{how}: outputs {errors['outputs']:.1e}, worst of {len(errors) - 1} tensors "
          f"{worst[0]:.1e} ({worst[1]}); PyTorch in float {max(plain.values()):.1e}"
          f"{f': {len(bad)} over the limit' if bad else ''}")
    if verbose:
        for name, e in errors.items():
            print(f"    {name} {e:.2e}")
    return not bad


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--fish")
    parser.add_argument("-v", action="store_true", dest="verbose")
    args = parser.parse_args()
    program, verbose = args.program, args.verbose
    torch.manual_seed(1)
    torch.set_num_threads(1)
    failed = False
    for title, (n, modes, config) in CASES.items():
        with tempfile.TemporaryDirectory() as scratch:
            where = pathlib.Path(scratch)
            for batch_mode in modes:
                how = f"{title}, {'batch' if batch_mode else 'running'} statistics"
                failed |= not any(draw(how, program, config, n, where, batch_mode, verbose)
                                  for _ in range(DRAWS))
            for problem in check_new(program, config, where):
                print(f"{title}: new: {problem}")
                failed = True
            if args.fish and config.get("in_channels", 1) == 1:
                failed |= not any(check_fisher(args.fish, title, config, pathlib.Path(d))
                                  for d in [tempfile.mkdtemp(dir=where) for _ in range(DRAWS)])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
