#!/usr/bin/env python3
"""Checkpoints that PyTorch writes, patched and loaded by PyTorch again: every tensor equal, bit for bit.
FMPATCH names the program.  Needs torch and safetensors.
"""
import json
import os
import subprocess
import tempfile
import unittest

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

FMPATCH = os.environ["FMPATCH"]


def fmpatch(*argv, status=0):
    done = subprocess.run([FMPATCH, *argv], capture_output=True, text=True)
    if done.returncode != status:
        raise AssertionError(f"{argv}: status {done.returncode}, expected {status}\n{done.stderr}")
    return done.stdout


def bits(tensor):
    """A tensor's bytes: NaNs and signs of zero count."""
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def every_dtype(generator):
    """A tensor of each dtype that both torch and safetensors have, with the odd values in it."""
    out = {}
    floats = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn,
              torch.float8_e5m2]
    for dtype in floats:
        values = torch.randn(64, 33, generator=generator)
        values[0, :4] = torch.tensor([0.0, -0.0, float("nan"), 1e-40])
        out[str(dtype).removeprefix("torch.")] = values.to(dtype)
    for dtype in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8):
        out[str(dtype).removeprefix("torch.")] = torch.randint(
            0, 100, (64, 33), generator=generator).to(dtype)
    out["bool"] = torch.rand(64, 33, generator=generator) < 0.5
    out["scalar"] = torch.tensor(3.5)
    out["empty"] = torch.zeros(0, 7)
    return out


def one_in_ten(tensors, generator):
    """The same with every tenth byte's lowest bit flipped; bool and what is empty stay."""
    out = {}
    for name, tensor in tensors.items():
        raw = bits(tensor).clone()
        if tensor.dtype != torch.bool and tensor.numel():
            raw[torch.rand(raw.numel(), generator=generator) < 0.1] ^= 1
        out[name] = raw.view(tensor.dtype).reshape(tensor.shape)
    return out


def trained_steps(n):
    """(state before, state after): n steps of AdamW on fp32 masters of a small network, as bf16."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.GELU(), torch.nn.Linear(256, 64))
    snapshot = lambda: {k: v.detach().to(torch.bfloat16).clone()  # noqa: E731
                        for k, v in model.state_dict().items()}
    before = snapshot()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, weight_decay=0)
    for _ in range(n):
        x = torch.randn(32, 64)
        loss = (model(x) - x.roll(1, 1)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return before, snapshot()


class TorchLoads(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.at = lambda *parts: os.path.join(holder.name, *parts)
        os.environ["XDG_CONFIG_HOME"] = self.at("config")

    def assert_same(self, found, expected):
        self.assertEqual(list(found), list(expected))
        for name, tensor in expected.items():
            self.assertEqual((found[name].dtype, found[name].shape), (tensor.dtype, tensor.shape),
                             name)
            self.assertTrue(torch.equal(bits(found[name]), bits(tensor)), name)

    def round_trip(self, base, target):
        """Both saved by torch; the loaded result of apply, and of revert."""
        save_file(base, self.at("base.safetensors"), {"format": "pt"})
        save_file(target, self.at("target.safetensors"), {"format": "pt"})
        fmpatch("create", self.at("base.safetensors"), self.at("target.safetensors"), "-o",
                self.at("p.fmp"), "--reversible")
        fmpatch("apply", self.at("base.safetensors"), self.at("p.fmp"), "-o",
                self.at("out.safetensors"))
        fmpatch("revert", self.at("target.safetensors"), self.at("p.fmp"), "-o",
                self.at("back.safetensors"))
        return load_file(self.at("out.safetensors")), load_file(self.at("back.safetensors"))

    def test_every_dtype(self):
        generator = torch.Generator().manual_seed(1)
        base = every_dtype(generator)
        target = one_in_ten(base, generator)
        out, back = self.round_trip(base, target)
        self.assert_same(out, load_file(self.at("target.safetensors")))
        self.assert_same(back, load_file(self.at("base.safetensors")))

    def test_trained_steps_are_small(self):
        base, target = trained_steps(3)
        n = sum(t.numel() for t in base.values())
        n_changed = sum(int((base[k] != target[k]).sum()) for k in base)
        self.assertTrue(0 < n_changed < n / 4, f"{n_changed} of {n}")
        out, back = self.round_trip(base, target)
        self.assert_same(out, load_file(self.at("target.safetensors")))
        self.assert_same(back, load_file(self.at("base.safetensors")))
        self.assertLess(os.path.getsize(self.at("p.fmp")),
                        os.path.getsize(self.at("target.safetensors")) / 8)

    def test_added_removed_and_grown(self):
        generator = torch.Generator().manual_seed(2)
        base = {"embed": torch.randn(100, 16, generator=generator), "old": torch.ones(4)}
        target = {"embed": torch.cat([base["embed"], torch.randn(8, 16, generator=generator)]),
                  "head": torch.randn(2, 16, generator=generator)}
        out, back = self.round_trip(base, target)
        self.assert_same(out, target)
        self.assert_same(back, base)

    def test_sharded_directory(self):
        """A base in two shards with an index, as transformers saves it, to a target in one file."""
        base, target = trained_steps(2)
        os.mkdir(self.at("base"))
        os.mkdir(self.at("target"))
        shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
        where = {name: shards[i % 2] for i, name in enumerate(sorted(base))}
        for shard in shards:
            save_file({k: v for k, v in base.items() if where[k] == shard},
                      self.at("base", shard), {"format": "pt"})
        with open(self.at("base", "model.safetensors.index.json"), "w") as f:
            json.dump({"metadata": {"total_size": sum(2 * t.numel() for t in base.values())},
                       "weight_map": where}, f, indent=2)
        save_file(target, self.at("target", "model.safetensors"), {"format": "pt"})
        fmpatch("create", self.at("base"), self.at("target"), "-o", self.at("p.fmp"))
        fmpatch("apply", self.at("base"), self.at("p.fmp"), "-o", self.at("out"))
        with safe_open(self.at("out", "model.safetensors"), "pt") as f:
            self.assertEqual(f.metadata(), {"format": "pt"})
        self.assert_same(load_file(self.at("out", "model.safetensors")),
                         load_file(self.at("target", "model.safetensors")))

    def test_other_weights_are_refused(self):
        base, target = trained_steps(1)
        self.round_trip(base, target)
        other = dict(base)
        other["0.bias"] = base["0.bias"] + 1
        save_file(other, self.at("other.safetensors"), {"format": "pt"})
        fmpatch("apply", self.at("other.safetensors"), self.at("p.fmp"), "-o",
                self.at("no.safetensors"), status=4)
        self.assertFalse(os.path.exists(self.at("no.safetensors")))


if __name__ == "__main__":
    unittest.main()
