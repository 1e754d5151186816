#!/usr/bin/env python3
"""make_unicode.py: writes unicode_tables.c, what the tokenizers library does with each code point.

The library mixes Unicode versions: its categories stop at Unicode 8, its decompositions at 9, while
lower case and white space follow the Rust compiler that built it.  So no one version's data gives
its ids.  This script asks the library itself about every code point, checks the answers against
Python's unicodedata, says where the two differ, and writes the library's answer.

For maintainers, with `tokenizers` installed:  python3 make_unicode.py > unicode_tables.c
"""
import sys
import unicodedata

import tokenizers
from tokenizers import AddedToken, Tokenizer, models
from tokenizers.normalizers import NFD, BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

OTHER, SPACE, PUNCT, MARK, WORD, DECOMPOSES, UPPER, ORDERED = (1 << i for i in range(8))
N_LOW = 0x500  # below: a table of its own; above: ranges
HANGUL = range(0xAC00, 0xD7A4)
WIDTH = 100


def code_points():
    """Every scalar value: surrogates cannot stand in a text."""
    yield from range(0xD800)
    yield from range(0xE000, 0x110000)


def bert(**on):
    """BertNormalizer with only the parts named."""
    parts = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    parts.update(on)
    return BertNormalizer(**parts).normalize_str


def probe_words():
    """The code points that end a word, and those that lstrip takes, as added tokens see them."""
    t = Tokenizer(models.WordLevel({"u": 0}, unk_token="u"))
    t.add_tokens([AddedToken("[X]", single_word=True, normalized=False),
                  AddedToken("{Y}", lstrip=True, normalized=False)])
    words = {c for c in code_points() if 1 not in t.encode(chr(c) + "[X]").ids}
    spaces = {c for c in code_points() if t.encode("a" + chr(c) + "{Y}").offsets[-1][0] == 1}
    return words, spaces


def probe_orders(nfd):
    """The canonical combining class of each code point that the library moves."""
    orders = {}
    for c in code_points():
        s = chr(c)
        moves = nfd("\u0345" + s) == s + "\u0345" or (c > 127 and nfd(s + "\u0301") == "\u0301" + s)
        if nfd(s) == s and (moves or unicodedata.combining(s) == 240):
            orders[c] = unicodedata.combining(s)
    # One code point of each class stands for it: all others must sort by it as their class says.
    of_class = {}
    for c, k in orders.items():
        of_class.setdefault(k, chr(c))
    for c, k in orders.items():
        for other, s in of_class.items():
            if s != chr(c) and (nfd(s + chr(c)) == chr(c) + s) != (k < other):
                sys.exit("U+%04X: does not sort as class %d" % (c, k))
    return orders


def probe():
    """flags, decompositions, lower case and combining classes of all code points."""
    clean, strip, lower = bert(clean_text=True), bert(strip_accents=True), bert(lowercase=True)
    nfd, split = NFD().normalize_str, BertPreTokenizer().pre_tokenize_str
    orders = probe_orders(nfd)
    words, spaces = probe_words()
    flags, decompositions, lowers = [0] * 0x110000, {}, {}
    for c in code_points():
        s = chr(c)
        parts = [piece for piece, _ in split("a" + s + "b")]
        cleaned = clean(s)
        blank = parts == ["a", "b"] and cleaned != ""
        if cleaned not in ("", " ", s) or (cleaned == " ") != blank:
            sys.exit("U+%04X: cleaned to %r, split to %r" % (c, cleaned, parts))
        if (parts == ["a", "b"]) != (c in spaces):
            sys.exit("U+%04X: white space to one part of the library only" % c)
        if nfd(s) != s and c not in HANGUL:
            decompositions[c] = [ord(x) for x in nfd(s)]
        if lower(s) != s:
            lowers[c] = [ord(x) for x in lower(s)]
        flags[c] = ((cleaned == "") * OTHER | (parts == ["a", "b"]) * SPACE |
                    (parts == ["a", s, "b"]) * PUNCT | (nfd(s) == s and strip(s) == "") * MARK |
                    (c in words) * WORD | (c in decompositions) * DECOMPOSES |
                    (c in lowers) * UPPER | (c in orders) * ORDERED)
    for c in code_points():  # stripping is decomposing, then dropping marks: nothing else
        want = [x for x in decompositions.get(c, [c]) if not flags[x] & MARK]
        if c not in HANGUL and strip(chr(c)) != "".join(map(chr, want)):
            sys.exit("U+%04X: strips to %r" % (c, strip(chr(c))))
    return flags, decompositions, lowers, orders


def compare(flags, decompositions, lowers, orders):
    """Says on stderr how far the library is from Python's unicodedata."""
    n = dict.fromkeys(("control", "mark", "punctuation", "decomposition", "lower", "order"), 0)
    for c in code_points():
        s, category = chr(c), unicodedata.category(chr(c))
        other = category[0] == "C" and c not in (9, 10, 13) or c == 0xFFFD
        composed = c in decompositions or c in HANGUL
        punct = category[0] == "P" or (c < 128 and category[0] in "PS")
        n["control"] += other != bool(flags[c] & OTHER)
        n["mark"] += not composed and (category == "Mn") != bool(flags[c] & MARK)
        n["punctuation"] += punct != bool(flags[c] & PUNCT)
        n["decomposition"] += c not in HANGUL and (
            unicodedata.normalize("NFD", s) != "".join(map(chr, decompositions.get(c, [c]))))
        n["lower"] += s.lower() != "".join(map(chr, lowers.get(c, [c])))
        n["order"] += not composed and unicodedata.combining(s) != orders.get(c, 0)
    print("code points unlike Unicode %s: %s" % (
        unicodedata.unidata_version, ", ".join("%s %d" % item for item in n.items())),
        file=sys.stderr)


def table(kind, name, values, fmt, counted=True):
    """A C array, filled to the line's width."""
    print("\nconst %s fish_%s[] = {" % (kind, name))
    line = "   "
    for v in values:
        item = " " + fmt % v + ","
        if len(line) + len(item) > WIDTH:
            print(line)
            line = "   "
        line += item
    print(line + "\n};")
    if not counted:
        return
    print("const uint32_t fish_n_%s = sizeof fish_%s / sizeof fish_%s[0];" % (name, name, name))


def steps(values):
    """(first code point << 8 | value) wherever the value changes."""
    return [c << 8 | values[c] for c in range(len(values)) if not c or values[c] != values[c - 1]]


def case_runs(lowers):
    """[first, last, step, delta]: runs of code points with one distance to their lower case."""
    runs = []
    for c, to in sorted(lowers.items()):
        if len(to) > 1:  # unicode.c knows the one that there is
            if (c, to) != (0x130, [0x69, 0x307]):
                sys.exit("U+%04X: lower case %r" % (c, to))
            continue
        delta = to[0] - c
        if runs and runs[-1][3] == delta:
            first, last, step, _ = runs[-1]
            if c - last <= 2 and (first == last or c - last == step):
                runs[-1] = [first, c, c - last, delta]
                continue
        runs.append([c, c, 1, delta])
    return runs


def surrogates_as_neighbours(values):
    """Surrogates never occur: they take what lies before them, which saves a step."""
    for c in range(0xD800, 0xE000):
        values[c] = values[0xD7FF]
    return values


def write(flags, decompositions, lowers, orders):
    print("/*")
    print(" * What each code point is to a BERT tokenizer.  Written by make_unicode.py, which")
    print(" * asked the tokenizers library %s; do not edit.  unicode.c explains the tables." %
          tokenizers.__version__)
    print(" */")
    print('#include "data/unicode_tables.h"')
    print("\n/* clang-format off */")
    table("uint8_t", "uc_low", flags[:N_LOW], "%d")
    table("uint32_t", "uc_flags_at", steps(surrogates_as_neighbours(flags)), "0x%x")
    classes = [orders.get(c, 0) for c in range(0x110000)]
    table("uint32_t", "uc_order_at", steps(classes), "0x%x")
    keys, pool = [], []
    for c, to in sorted(decompositions.items()):
        if len(to) > 4 or len(pool) >= 1 << 16:
            sys.exit("U+%04X: decomposition does not fit" % c)
        keys.append((c, len(pool), len(to)))
        pool += to
    table("uint32_t", "uc_decomposed", [c for c, _, _ in keys], "0x%x")
    table("uint16_t", "uc_parts_at", [at for _, at, _ in keys] + [len(pool)], "%d",
          counted=False)
    table("uint32_t", "uc_parts", pool, "0x%x", counted=False)
    table("fish_uc_case", "uc_cases", [tuple(r) for r in case_runs(lowers)], "{0x%x, 0x%x, %d, %d}")
    print("/* clang-format on */")


def main():
    tables = probe()
    compare(*tables)
    write(*tables)


if __name__ == "__main__":
    main()
