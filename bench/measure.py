"""Runs one command as a child and says what it took.  Standard library only, so that this process stays
small: a child's peak memory can never be reported below that of the process which forked it, and for
the same reason the child is started by /usr/bin/time, which is smaller still.
"""
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass

TIME = shutil.which("time")


@dataclass
class Cost:
    wall: float  # seconds
    cpu: float  # seconds, user and system
    rss: float  # peak, MiB


class Failed(Exception):
    """The command ended with an error; the text is the last line that it said."""


class TooSlow(Exception):
    """The command was stopped at the time limit."""


def run_once(argv, limit):
    with tempfile.NamedTemporaryFile("r") as peak, tempfile.TemporaryFile() as said:
        wrapped = [TIME, "-o", peak.name, "-f", "%M", *argv] if TIME else argv
        begin = time.perf_counter()
        child = subprocess.Popen(wrapped, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=said, start_new_session=True)
        stopped = threading.Event()

        def stop():
            stopped.set()
            os.killpg(child.pid, signal.SIGKILL)

        timer = threading.Timer(limit, stop)
        timer.start()
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - begin
        timer.cancel()
        child.returncode = os.waitstatus_to_exitcode(status)
        if stopped.is_set():
            raise TooSlow(f"over {limit:.0f} s")
        if child.returncode:
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines() or [""]
            raise Failed(f"exit {child.returncode}: {lines[-1][:120]}")
        kib = float(peak.read().split()[-1]) if TIME else usage.ru_maxrss
        return Cost(wall, usage.ru_utime + usage.ru_stime, kib / 1024)


def run(argv, runs, limit, slow=20.0):
    """(median Cost, number of runs).  What takes longer than `slow` seconds is run once."""
    costs = []
    while len(costs) < runs:
        costs.append(run_once(argv, limit))
        if costs[-1].wall > slow:
            break
    middle = lambda field: statistics.median(getattr(c, field) for c in costs)  # noqa: E731
    return Cost(middle("wall"), middle("cpu"), max(c.rss for c in costs)), len(costs)


def warm(*paths):
    """Reads the files once, so that every tool finds them in the page cache."""
    for path in paths:
        with open(path, "rb", buffering=0) as f:
            while f.read(1 << 20):
                pass


def same(a, b):
    """Whether two files hold the same bytes."""
    if os.path.getsize(a) != os.path.getsize(b):
        return False
    with open(a, "rb", buffering=0) as x, open(b, "rb", buffering=0) as y:
        while True:
            p, q = x.read(1 << 20), y.read(1 << 20)
            if p != q:
                return False
            if not p:
                return True
