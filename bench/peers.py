"""What is compared: each tool's version and its commands for create and apply.  Standard library only.

A tool that is not on this machine stays in the list, with the reason; no figure is ever made up for it.
"""
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import Callable

HERE = os.path.dirname(os.path.abspath(__file__))
MB = 1000 * 1000


@dataclass
class Tool:
    name: str
    version: str  # "" when it is not available
    missing: str  # why it is not
    create: Callable  # (base, target, patch) -> argv
    apply: Callable  # (base, patch, out) -> argv
    most: int = 1 << 62  # bytes of a target beyond which it is not run


def said(argv, line=0):
    """A line of what a command prints, or "" when it cannot be run."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except OSError:
        return ""
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[line].strip() if len(lines) > line else ""


def package_version(name):
    return said(["dpkg-query", "-W", "-f", "${Version}", name]) if shutil.which(name) else ""


def window(*paths):
    """zstd's --long for these files together."""
    return min(31, max(27, sum(os.path.getsize(p) for p in paths).bit_length()))


def fmpatch(exe, threads, how="", *options):
    n = ["--threads", str(threads)]
    version = said([exe, "--version"]).removeprefix("fmpatch ")
    return Tool(
        f"fmpatch{how}, {threads} thread{'s' if threads > 1 else ''}", version, "not built",
        lambda b, t, p: [exe, "create", b, t, "-o", p, "-f", "-q", *n, *options],
        lambda b, p, o: [exe, "apply", b, p, "-o", o, "-f", "-q", *n],
    )


def library(name, python, package=None, most=1 << 62, label=None):
    """A peer behind peer_tool.py; of a package, or re-created when there is none."""
    version = "re-created here"
    if package:
        query = f"import importlib.metadata as m; print(m.version('{package}'))"
        version = said([python, "-c", query])
        version = version if version[:1].isdigit() else ""
    call = [python, os.path.join(HERE, "peer_tool.py"), name]
    return Tool(
        label or name, version, "package not available here",
        lambda b, t, p: [*call, "create", b, t, p],
        lambda b, p, o: [*call, "apply", b, p, o], most,
    )


def zstd(level, most):
    version = package_version("zstd")
    return Tool(
        f"zstd -{level} --patch-from", version, "package not available here",
        lambda b, t, p: ["zstd", "-q", "-f", f"-{level}", f"--long={window(b, t)}",
                         f"--patch-from={b}", t, "-o", p],
        lambda b, p, o: ["zstd", "-q", "-f", "-d", "--long=31", f"--patch-from={b}", p, "-o", o],
        most,
    )


def xdelta3(most):
    def buffer(*paths):
        return str(max(1 << 20, max(os.path.getsize(p) for p in paths)))

    return Tool(
        "xdelta3 -9", package_version("xdelta3"), "package not available here",
        lambda b, t, p: ["xdelta3", "-e", "-9", "-f", "-B", buffer(b, t), "-s", b, t, p],
        lambda b, p, o: ["xdelta3", "-d", "-f", "-B", buffer(b), "-s", b, p, o], most,
    )


def bsdiff(most):
    return Tool(
        "bsdiff", package_version("bsdiff"), "package not available here",
        lambda b, t, p: ["bsdiff", b, t, p],
        lambda b, p, o: ["bspatch", b, o, p], most,
    )


def table(exe, python):
    """Every tool, ours first, with 1, 2, 4, ... threads as there are processors."""
    counts = [1, 2] + [1 << k for k in range(2, 10) if 1 << k <= os.cpu_count()]
    return [
        *(fmpatch(exe, n) for n in counts),
        *(fmpatch(exe, n, " compact", "--profile", "compact") for n in counts),
        fmpatch(exe, 2, " compact, level 9", "--profile", "compact", "--level", "9"),
        library("pulse", python, "basilica-sdk", 1000 * MB, "PULSEPT1 v3 (basilica-sdk)"),
        library("z4ai", python, "z4ai", 1000 * MB, "z4ai model_delta"),
        library("hdiffpatch", python, "hdiffpatch", 100 * MB, "HDiffPatch (zstd)"),
        bsdiff(50 * MB),
        xdelta3(300 * MB),
        zstd(3, 1000 * MB),
        zstd(19, 50 * MB),
        library("slime-like", python, None, 1000 * MB, "slime-like (XOR, zstd-1)"),
        library("trl-like", python, None, 1000 * MB, "TRL-like (int32 + value)"),
        library("exponent-rice", python, None, 1000 * MB, "exponent classes, Rice, zstd-1"),
    ]
