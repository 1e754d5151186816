#!/usr/bin/env python3
"""Labelled texts that every Debian machine has: one-line descriptions of packages and the section that
they are in.  usage: debian_sections.py OUT_DIR      (writes train.tsv and test.tsv; no network)

Six sections; all packages of one source package go to the same side, so that near-equal descriptions of a
family are never in both.  The order is that of a hash: the same on every machine with the same lists.
"""
import hashlib
import os
import subprocess
import sys

SECTIONS = ("doc", "games", "net", "python", "science", "sound")
EACH = 400  # of a section, for training


def packages():
    out = subprocess.run(["apt-cache", "dumpavail"], stdout=subprocess.PIPE, text=True, check=True,
                         errors="replace", env={**os.environ, "LC_ALL": "C.UTF-8"}).stdout
    for block in out.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and line[0] != " ")
        section, text = fields.get("Section", "").split("/")[-1], fields.get("Description", "")
        if section in SECTIONS and text and "\t" not in text:
            yield fields.get("Source", fields["Package"]).split(" ")[0], section, text


def main(out):
    os.makedirs(out, exist_ok=True)
    rows = sorted(set(packages()), key=lambda r: hashlib.sha256("\0".join(r).encode()).digest())
    with open(out + "/train.tsv", "w", encoding="utf-8") as train, open(out + "/test.tsv", "w", encoding="utf-8") as test:
        count = {}
        for f in (train, test):
            f.write("text\tlabel\n")
        for source, section, text in rows:
            held_out = hashlib.sha256(source.encode()).digest()[0] < 51  # a fifth
            key = (held_out, section)
            count[key] = count.get(key, 0) + 1
            if count[key] <= (EACH // 4 if held_out else EACH):
                (test if held_out else train).write("%s\t%s\n" % (text, section))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
