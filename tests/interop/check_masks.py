#!/usr/bin/env python3
"""Writes masks with the library and reads them with read_fmp.py and the safetensors package.

usage: check_masks.py [MASK_TOOL] [--count N] [--seed S]

read_fmp.py knows nothing but FORMAT.md, and nothing of masks: laid over zeros that the safetensors
package wrote, a mask must give the very file that the package writes for the selection.  The golden
mask, which tests/golden/make built without the library, must be read by the library as it was meant.
MASK_TOOL is mask_tool.c, built; without it that of the build that FMP_BUILD names.  Exits 77 without
numpy, safetensors or zstandard.
"""
import argparse
import os
import random
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import safetensors.numpy
    import zstandard  # pylint: disable=unused-import
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

import read_fmp

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden")
WAYS = ["none", "one", "few", "some", "half", "most", "all", "rows", "columns", "tiles"]


def select(rng, shape, way):
    """A boolean array."""
    size = int(np.prod(shape, dtype=np.int64))
    flat = np.zeros(size, bool)
    share = {"few": 0.005, "some": 0.05, "half": 0.5, "most": 0.98, "all": 1.0}.get(way, 0)
    if share:
        flat = rng.np.random(size) < share
    elif way == "one" and size:
        flat[rng.randrange(size)] = True
    out = flat.reshape(shape)
    if len(shape) >= 1 and size and way == "rows":
        out[rng.np.random(shape[0]) < 0.2] = True
    elif len(shape) >= 2 and size and way in ("columns", "tiles"):
        out[..., rng.np.random(shape[-1]) < 0.2] = True
        if way == "tiles":
            out[rng.np.random(shape[0]) < 0.5] = False
    return out


def random_shape(rng, most):
    rank = rng.choice([0, 1, 1, 2, 2, 2, 4])
    shape = [max(1, int(rng.random() * most ** (1 / rank))) for _ in range(rank)]
    if rank and rng.random() < 0.05:
        shape[rng.randrange(rank)] = 0
    return shape


def random_mask(rng, most):
    parts = ["encoder", "layer", "query", "weight", "bias", "ä", 'quo"te', "x"]
    mask = {}
    for number in range(rng.randrange(1, 12)):
        name = ".".join(rng.choice(parts) for _ in range(rng.randrange(1, 4))) + f".{number}"
        mask[name] = select(rng, random_shape(rng, most), rng.choice(WAYS))
    return mask


def numbers(values):
    return ",".join(map(str, values)) or "-"


def lines(mask, order, short=False):
    out = []
    for name in order:
        ones = mask[name].reshape(-1)
        full = short and ones.size and ones.all()
        out.append("\t".join([name, numbers(mask[name].shape),
                              "all" if full else numbers(np.flatnonzero(ones))]) + "\n")
    return "".join(out)


class Checker:
    """Counts, and runs one case after the other."""

    def __init__(self, tool, work):
        self.tool, self.work, self.passed, self.failed = tool, work, 0, 0

    def run(self, *arguments, text=None):
        done = subprocess.run([self.tool, *arguments], input=text, capture_output=True, text=True,
                              check=False)
        if done.returncode:
            raise RuntimeError(f"{arguments}: {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def case(self, label, check, *arguments):
        try:
            check(*arguments)
            self.passed += 1
        except Exception as error:  # pylint: disable=broad-except
            self.failed += 1
            print(f"FAILED {label}: {type(error).__name__}: {error}")

    def written(self, rng, most):
        """Library to Python."""
        mask = random_mask(rng, most)
        path = os.path.join(self.work, "m.fmp")
        zeros = os.path.join(self.work, "zeros.safetensors")
        order = sorted(mask, key=lambda _: rng.random())
        if os.path.exists(path):
            os.remove(path)
        self.run("write", path, text=lines(mask, order, short=True))
        assert self.run("read", path) == lines(mask, sorted(mask, key=str.encode)), "read back"
        patch = read_fmp.open_patch(path)
        selected = int(sum(m.sum() for m in mask.values()))
        assert patch.manifest["kind"] == "mask", patch.manifest["kind"]
        assert patch.manifest["changes"]["units"] == selected, patch.manifest["changes"]
        safetensors.numpy.save_file({k: np.zeros_like(m) for k, m in mask.items()}, zeros)
        is_dir, files = patch.apply(read_fmp.Checkpoint(zeros))
        data = b"".join(files.values())
        assert not is_dir and list(files) == [b"mask.safetensors"], list(files)
        assert data == safetensors.numpy.save(mask), "not the file that the package writes"
        for name, got in safetensors.numpy.load(data).items():
            assert got.dtype == bool and np.array_equal(got, mask[name]), name
        assert patch.ways_back() is not None, "not reversible"
        for frame in patch.frames:
            for block in frame.blocks:
                assert block.kind == 0 and block.log2 == 0 and not block.sign_magnitude, "a block"

    def golden(self):
        """Python to library."""
        mask = safetensors.numpy.load_file(os.path.join(GOLDEN, "mask.target.safetensors"))
        got = self.run("read", os.path.join(GOLDEN, "mask.fmp"))
        assert got == lines(mask, sorted(mask)), got

    def no_mask(self, name):
        """A patch that is none is refused as wrong usage."""
        done = subprocess.run([self.tool, "read", os.path.join(GOLDEN, name)], capture_output=True,
                              text=True, check=False)
        assert done.returncode == 2 and "is not a mask" in done.stderr, done.stderr


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("tool", nargs="?", default=os.path.join(
        os.environ.get("FMP_BUILD") or "build", "mask_tool"))
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        checker = Checker(os.path.abspath(arguments.tool), work)
        for i in range(arguments.count):
            rng = random.Random(f"{arguments.seed}-{i}")
            rng.np = np.random.default_rng([arguments.seed, i])
            checker.case(f"mask {i}", checker.written, rng, [300, 20000, 1500000][i % 3])
        checker.case("golden", checker.golden)
        for name in ("residual.fmp", "dtypes.fmp", "added.fmp"):
            checker.case(name, checker.no_mask, name)
    print(f"{checker.passed} passed, {checker.failed} failed")
    return 1 if checker.failed else 0


if __name__ == "__main__":
    sys.exit(main())
