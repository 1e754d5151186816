# Names of tensors and files, and the manifest, are foreign text: on a page they are nothing but text.
python3 - <<'END'
import json, struct
NAMES = ["</script><script>alert(1)</script>", "\"' onload=alert(1) x='", "&lt;&amp;]]>", "right\u200fto left\u061c",
         "</title></svg><style>*{display:none}", "y" * 1024]
for path, step in (("a.safetensors", 0), ("b.safetensors", 1)):
    header, data = {}, bytearray()
    for name in NAMES:
        header[name] = {"dtype": "U8", "shape": [8], "data_offsets": [len(data), len(data) + 8]}
        data += bytes(range(step, step + 8))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + data)
json.dump({"kind": "</dd><b>", "lineage": "<i>\u2067", "sequence": 1,
           "parents": [{"name": n, "id": n, "signers": [n]} for n in NAMES] + ["<p>", 7, {"signers": 3}]},
          open("m.json", "w"))
END
name=$(printf '<script>\342\200\256&"quoted".fmp')
fmpatch create -q a.safetensors b.safetensors -o "$name" --task "$(printf "evil\033[2J<img src=x>'")" \
    --manifest m.json >shown.txt
t fmpatch inspect "$name" --html p.html --base a.safetensors
page p.html '</script><script>alert(1)</script>' "\"' onload=alert(1) x='" '&lt;&amp;]]>' \
    'rightU+200Fto leftU+061C' '</title></svg><style>*{display:none}' \
    'yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy…yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy' \
    "evilU+001B[2J<img src=x>'" '</dd><b>, format version' '<i>U+2067' 'Patch <script>U+202E&"quoted".fmp' \
    'signed by </script><script>alert(1)</script>, as this patch says'
python3 -c '
import re
text = open("p.html", encoding="utf-8").read()
print(re.findall("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]", text))
print(re.findall("<(?:script|img|b|i)\\b[^>]*>", text))'
