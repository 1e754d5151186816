#!/usr/bin/env python3
"""Runs the benchmark on real pairs and holds fmpatch to being exact and smaller than its peers.
FMP_BUILD names the build directory.  Sizes are compared, times never.
"""
import os
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("FMP_BUILD", os.path.join(ROOT, "build"))
PROFILES = "fmpatch", "fmpatch compact"


def table(pair):
    """{tool: (bytes, result)} of one pair, for the quick ones among the tools."""
    done = subprocess.run(
        [sys.executable, os.path.join(ROOT, "bench", "run"), "--quick", "--build", BUILD,
         "--timeout", "60", "--only", pair, "--tools", "fmpatch,z4ai,slime,trl,hdiffpatch,zstd -3"],
        capture_output=True, text=True)
    print(done.stdout)
    if not done.stdout.count("\n## "):
        raise AssertionError(done.stderr)
    rows = {}
    for line in done.stdout.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 12 and cells[1].replace(",", "").isdigit():
            rows[cells[0]] = int(cells[1].replace(",", "")), cells[-1]
    return rows


class Sizes(unittest.TestCase):
    def check(self, pair):
        rows = table(pair)
        ours = {tool: row for tool, row in rows.items() if tool.startswith("fmpatch")}
        theirs = {tool: row for tool, row in rows.items() if tool not in ours}
        self.assertGreaterEqual(len(theirs), 3, rows)
        for tool, (_, result) in ours.items():
            self.assertEqual(result, "same file", tool)
        sizes = {}
        for profile in PROFILES:
            by_threads = [rows["%s, %d thread%s" % (profile, n, "s"[:n - 1])][0] for n in (1, 2)]
            self.assertEqual(by_threads[0], by_threads[1], "bytes depend on threads: " + profile)
            sizes[profile] = by_threads[0]
        self.assertEqual(sorted(PROFILES, key=sizes.get), ["fmpatch compact", "fmpatch"], rows)
        for tool, (size, _) in theirs.items():
            self.assertLess(sizes["fmpatch"], size, tool)

    def test_rl_steps_in_bf16(self):
        self.check("real-rl10")

    def test_fish_mask_in_fp32(self):
        self.check("real-fish")

    def test_dense_fine_tune_in_bf16(self):
        self.check("real-tune")


if __name__ == "__main__":
    unittest.main()
