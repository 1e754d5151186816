#!/usr/bin/env python3
"""What each level of each profile costs and gives.  usage: levels.py [--build DIR] [--runs N] BASE TARGET...

Pairs of checkpoints follow each other.  One thread, page cache warm; seconds of processor time, the least of N
runs (default 3), which on a shared machine says more than a median.  Standard library only.
"""
import argparse
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True
import measure  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(os.path.dirname(HERE), "build"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("files", nargs="+", metavar="BASE TARGET")
    args = parser.parse_args()
    exe = os.path.join(args.build, "tools", "fmpatch")
    print("| pair | profile | level | bytes | create, s | apply, s |\n|---|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as tmp:
        patch, out = os.path.join(tmp, "patch"), os.path.join(tmp, "out")
        for base, target in zip(args.files[::2], args.files[1::2]):
            for profile in ("open", "compact"):
                for level in range(1, 10):
                    create = [exe, "create", base, target, "-o", patch, "-f", "-q", "--threads", "1",
                              "--profile", profile, "--level", str(level)]
                    apply = [exe, "apply", base, patch, "-o", out, "-f", "-q", "--threads", "1"]
                    least = [min(measure.run_once(argv, 600).cpu for _ in range(args.runs)) for argv in (create, apply)]
                    if not measure.same(out, target):
                        sys.exit(f"{target}: not what the patch made")
                    print(f"| {os.path.basename(target)} | {profile} | {level} | {os.path.getsize(patch):,} | "
                          f"{least[0]:.2f} | {least[1]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
