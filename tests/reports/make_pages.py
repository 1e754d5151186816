#!/usr/bin/env python3
"""Makes checkpoints, patches and their pages, and holds the pages to what needs no browser.

usage: make_pages.py PROGRAM DIR [--many N]

Pages land in DIR/pages.  Each must be well-formed XML and, where html5lib is installed, HTML without an
error; below 3 MB; without a script, and without an address but the names of XML's spaces; no foreign text
may reach it unescaped.  --many: tensors of the largest model (default 500,000).  The last line is
'N passed, N failed'.
"""
import argparse
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

try:
    import html5lib
except ImportError:
    html5lib = None

LIMIT = 3_000_000
HOSTILE = [
    "</script><script>alert(1)</script>",
    "\"' onload=alert(1) x='",
    "<img src=http://example.com/x.png>",
    "&lt;&#x3c;&amp;]]><!--",
    "right\u200fto\u061cleft\u200e",
    "\u5c42.\u00e9\U0001f600.weight",
    "x" * 1024,
    "layers.999999999.<b>q_proj</b>.weight",
    "</title></svg></style>",
    "javascript:alert(1)",
]
SPACES = ("http://www.w3.org/1999/xhtml", "http://www.w3.org/2000/svg")


def bf16(i):
    """A small weight; the generator is fixed."""
    return 0x3C00 + i * 2654435761 % 512 + (0x8000 if i * 40503 & 64 else 0)


def write(path, tensors):
    """tensors: (name, dtype, shape, data)."""
    header, at = {}, 0
    for name, dtype, shape, data in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, _, _, data in tensors:
            f.write(data)


def floats(n, seed):
    return bytearray(struct.pack(f"<{n}H", *(bf16(i + seed) for i in range(n))))


def change(data, every, step):
    for i in range(every // 2, len(data) // 2, every):
        at = 2 * i
        value = struct.unpack_from("<H", data, at)[0]
        struct.pack_into("<H", data, at, (value + step * (1 + i % 5)) & 0xFFFF)
    return data


def model(tuned=False, seed=0, layers=12):
    """An encoder: some roles change a lot, some not at all."""
    out = [("model.embed_tokens.weight", [400, 32]), ("lm_head.weight", [400, 32]), ("model.norm.weight", [32])]
    for n in range(layers):
        p = f"model.layers.{n}."
        out += [(p + f"self_attn.{r}_proj.weight", [32, 32]) for r in "qkvo"]
        out += [(p + f"mlp.{r}_proj.weight", [64, 32]) for r in ("gate", "up")]
        out += [(p + "mlp.down_proj.weight", [32, 64]), (p + "input_layernorm.weight", [32])]
    tensors = []
    for k, (name, shape) in enumerate(out):
        n = 1
        for d in shape:
            n *= d
        data = floats(n, 1000 * k)
        if tuned and "k_proj" not in name:
            change(data, 3 + (k * 7 + seed) % 60 * 5 + ("norm" in name), 1 + k % 3)
        tensors.append((name, "BF16", shape, data))
    tensors.append(("steps", "I64", [1], bytearray(struct.pack("<q", 7 + tuned))))
    return tensors


def mixture(n, tuned):
    """A mixture of experts of n tensors of eight elements."""
    names = ["model.embed_tokens.weight", "lm_head.weight"]
    layer = 0
    while len(names) < n:
        p = f"model.layers.{layer}."
        names += [p + f"self_attn.{r}_proj.weight" for r in "qkvo"]
        names += [p + "input_layernorm.weight", p + "mlp.gate.weight"]
        names += [p + f"mlp.experts.{e}.{r}_proj.weight" for e in range(128) for r in ("gate", "up", "down")]
        layer += 1
    same = bytes(floats(8, 0))
    return [(name, "BF16", [4, 2],
             change(bytearray(same), 2 + k % 5, 1 + k % 40) if tuned and k % 7 == 0 else same)
            for k, name in enumerate(names[:n])]


class Maker:
    """Runs the program and counts."""

    def __init__(self, program, folder):
        self.program = os.path.abspath(program)
        self.folder = folder
        self.passed = self.failed = 0

    def path(self, name):
        return os.path.join(self.folder, name)

    def run(self, *arguments):
        environment = dict(os.environ, HOME="/nonexistent", XDG_CONFIG_HOME=self.path("config"))
        environment.pop("FMPATCH_KEYRING", None)
        done = subprocess.run([self.program, *arguments], cwd=self.folder, env=environment, check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            raise SystemExit(f"{' '.join(arguments)}: {done.stdout.decode()}")
        return done.stdout.decode()

    def page(self, name, *arguments, shown=()):
        """Runs the program, which writes pages/NAME.html, and checks the page, which must show the texts."""
        start = time.monotonic()
        out = self.run(*arguments, "--html", f"pages/{name}.html", "-f")
        seconds = time.monotonic() - start
        with open(self.path(f"pages/{name}.html"), "rb") as f:
            data = f.read()
        faults = [] if out == f"pages/{name}.html\n" else [f"it printed {out!r}"]
        faults += check(data, shown)
        print(f"{name}: {len(data)} bytes, {seconds:.1f} s{''.join('; FAIL ' + x for x in faults)}")
        self.passed += not faults
        self.failed += bool(faults)


def check(data, shown):
    """Yields what is wrong with a page."""
    if len(data) >= LIMIT:
        yield f"{len(data)} bytes"
    text = data.decode()
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        yield f"XML: {error}"
        return
    text_shown = "".join(root.itertext())
    for one in shown:
        if one not in text_shown:
            yield f"it does not show {one!r}"
    if html5lib:
        try:
            html5lib.HTMLParser(strict=True).parse(text)
        except html5lib.html5parser.ParseError as error:
            yield f"HTML: {error}"
    for unfit in re.findall("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]", text)[:1]:
        yield f"character {ord(unfit):#x}"
    tags = {e.tag.rpartition("}")[2] for e in root.iter()}
    for tag in tags & {"script", "img", "link", "iframe", "object", "form", "base", "image", "use", "foreignObject"}:
        yield f"<{tag}>"
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    if len(ids) != len(set(ids)):
        yield "an id is there twice"
    for e in root.iter():
        for name, value in e.attrib.items():
            if name.startswith("on") or (name == "href" and value[1:] not in ids):
                yield f"attribute {name}"
    css = "".join(e.text or "" for e in root.iter() if e.tag.endswith("style"))
    if re.search(r"url\(|@import", css):
        yield "the style refers to something"


def make_inspect(maker):
    write(maker.path("base.safetensors"), model())
    write(maker.path("tuned.safetensors"), model(True))
    task = {"task": {"name": "demo"}, "method": {"name": "fish"}, "lineage": "demo-line", "sequence": 3}
    with open(maker.path("task.json"), "w", encoding="utf-8") as f:
        json.dump(task, f)
    maker.run("create", "-q", "base.safetensors", "tuned.safetensors", "-o", "task.fmp", "-f", "--manifest",
              "task.json")
    maker.page("task", "inspect", "task.fmp")
    maker.page("task-base", "inspect", "task.fmp", "--base", "base.safetensors")


def make_hostile(maker):
    base = [(name, "BF16", [8, 4], floats(32, k)) for k, name in enumerate(HOSTILE)]
    write(maker.path("hostile-a.safetensors"), base)
    write(maker.path("hostile-b.safetensors"), [(n, d, s, change(bytearray(x), 4, 3)) for n, d, s, x in base])
    told = {"task": {"name": "</dd><script>alert(1)</script>\u001b[2J\u202e\"'"},
            "kind": "<b>merge</b>", "lineage": "<i>\u2066", "sequence": 2,
            "parents": [{"name": h, "id": h, "signers": [h, {"name": h}]} for h in HOSTILE] * 3}
    with open(maker.path("hostile.json"), "w", encoding="utf-8") as f:
        json.dump(told, f)
    name = "<script>alert(1)<\u200fscript>&'\".fmp"
    maker.run("create", "-q", "hostile-a.safetensors", "hostile-b.safetensors", "-o", name, "-f", "--manifest",
              "hostile.json")
    maker.page("hostile", "inspect", name, "--base", "hostile-a.safetensors",
               shown=["</script><script>alert(1)</script>", "rightU+200FtoU+061CleftU+200E", "U+001B[2JU+202E",
                      "x" * 31 + "\u2026" + "x" * 64, "&lt;&#x3c;&amp;]]><!--", "<script>alert(1)<U+200Fscript>&'\""])


def make_poisoned(maker):
    """Values that nobody trains: a NaN, an infinite one, a huge one, planted in the head."""
    base, tuned = model(), model(True)
    head = next(t for t in tuned if t[0] == "lm_head.weight")
    struct.pack_into("<4H", head[3], 640, 0x7FC0, 0x7F80, 0x7E00, 0xFFC1)
    write(maker.path("clean.safetensors"), base)
    write(maker.path("poisoned.safetensors"), tuned)
    maker.run("create", "-q", "clean.safetensors", "poisoned.safetensors", "-o", "poisoned.fmp", "-f")
    maker.page("poisoned", "inspect", "poisoned.fmp", "--base", "clean.safetensors",
               shown=["2 NaN, 1 infinite"])


def make_signed(maker):
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli", "keys")
    for name in ("alice", "mallory"):
        for suffix, mode in ((".key", 0o600), (".pub", 0o644)):
            target = maker.path(name + suffix)
            with open(os.path.join(folder, name + suffix), "rb") as f, open(target, "wb") as out:
                out.write(f.read())
            os.chmod(target, mode)
    shutil.rmtree(maker.path("ring"), ignore_errors=True)
    os.makedirs(maker.path("ring/trusted.d"))
    os.makedirs(maker.path("ring/revoked.d"))
    maker.run("create", "-q", "base.safetensors", "tuned.safetensors", "-o", "signed.fmp", "-f", "--sign",
              "alice.key", "--comment", "release <1>")
    maker.page("untrusted", "inspect", "signed.fmp", "--keyring", "ring", shown=["signer not trusted"])
    with open(maker.path("alice.pub"), "rb") as f:
        key = f.read()
    with open(maker.path("ring/trusted.d/alice.pub"), "wb") as f:
        f.write(key)
    maker.page("trusted", "inspect", "signed.fmp", "--keyring", "ring", shown=["signer trusted", "release <1>"])
    os.rename(maker.path("ring/trusted.d/alice.pub"), maker.path("ring/revoked.d/alice.pub"))
    maker.page("revoked", "inspect", "signed.fmp", "--keyring", "ring", shown=["signed by a revoked key"])


def make_family(maker):
    """Tasks of one base, three of them signed: what they share, and what is made from them."""
    tasks = []
    for k in range(5):
        write(maker.path("member.safetensors"), model(True, 5 * k + 1))
        tasks.append(f"member-{k}.fmp")
        sign = ["--sign", "alice.key"] if k < 3 else []
        maker.run("create", "-q", "base.safetensors", "member.safetensors", "-o", tasks[-1], "-f", *sign)
    maker.page("overlap-family", "overlap", *tasks, shown=["5 member-4.fmp", "exactly the patches"])
    maker.run("merge", "-q", "base.safetensors", *tasks, "-o", "merged.fmp", "-f", "--method", "ties", "--integers",
              "first")
    maker.page("merged", "inspect", "merged.fmp", "--base", "base.safetensors",
               shown=["made from", "unsigned", "as this patch says", "merge"])


def make_small(maker):
    """Nothing, next to nothing, and a file that is no model."""
    write(maker.path("empty.safetensors"), [])
    write(maker.path("one.safetensors"), [("w", "F32", [0], b""), ("v", "BOOL", [], b"\1")])
    maker.run("create", "-q", "empty.safetensors", "one.safetensors", "-o", "one.fmp", "-f")
    maker.page("added", "inspect", "one.fmp", "--base", "empty.safetensors")
    maker.run("create", "-q", "one.safetensors", "empty.safetensors", "-o", "none.fmp", "-f")
    maker.page("removed", "inspect", "none.fmp")
    maker.run("create", "-q", "one.safetensors", "one.safetensors", "-o", "same.fmp", "-f")
    maker.page("same", "inspect", "same.fmp")
    for name, step in (("a.bin", 0), ("b.bin", 1)):
        with open(maker.path(name), "wb") as f:
            f.write(bytes((i * i >> 3) + step * (i % 400 == 9) & 255 for i in range(9000)))
    maker.run("create", "-q", "a.bin", "b.bin", "-o", "raw.fmp", "-f")
    maker.page("raw", "inspect", "raw.fmp", "--base", "a.bin")


def make_many(maker, n):
    write(maker.path("many-a.safetensors"), mixture(n, False))
    write(maker.path("many-b.safetensors"), mixture(n, True))
    maker.run("create", "-q", "many-a.safetensors", "many-b.safetensors", "-o", "many.fmp", "-f")
    maker.page("many", "inspect", "many.fmp", "--base", "many-a.safetensors")
    maker.page("overlap-twice", "overlap", "many.fmp", "many.fmp")
    for name in ("many-a.safetensors", "many-b.safetensors", "many.fmp"):
        os.remove(maker.path(name))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("folder")
    parser.add_argument("--many", type=int, default=500_000)
    args = parser.parse_args()
    os.makedirs(os.path.join(args.folder, "pages"), exist_ok=True)
    maker = Maker(args.program, os.path.abspath(args.folder))
    make_inspect(maker)
    make_hostile(maker)
    make_poisoned(maker)
    make_signed(maker)
    make_family(maker)
    make_small(maker)
    make_many(maker, args.many)
    print(f"{maker.passed} passed, {maker.failed} failed")
    return 1 if maker.failed else 0


if __name__ == "__main__":
    sys.exit(main())
