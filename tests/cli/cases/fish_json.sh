# needs: fmpatch-fish
# mask: blake2b:[0-9a-f]{64} => blake2b:HEX
# Every --json of fmpatch fish is one object with the members that tools/JSON.md names.
task bert base
task texts train.csv
task texts test.csv --seed 2
schema() {
    "$@" --json 2>message.txt >object.json
    python3 - <<'END'
import json
o = json.load(open("object.json"))
print(o["schema"], " ".join(sorted(o)))
for key in ("metrics", "valid", "method"):
    if key in o:
        print(" ", key, " ".join(sorted(o[key])))
for key in ("classes", "elements", "samples", "directory", "scores", "patch", "data"):
    if key in o:
        print(" ", key, o[key])
if "confusion" in o:
    rows = o["confusion"]
    print("  confusion", [len(row) for row in rows], sum(map(sum, rows)) == o["metrics"]["n"])
END
}
schema fmpatch fish init base/config.json base -f
schema fmpatch fish fisher base/model.safetensors train.csv --samples 50
schema fmpatch fish train base/model.safetensors train.csv -k 100 --epochs 2 --valid test.csv -o p.fmp \
    --log log.jsonl --curve curve.svg --heatmap heat.svg
schema fmpatch fish train base/model.safetensors train.csv --full --steps 3 --value-bits 4 -o f.fmp
schema fmpatch fish eval base/model.safetensors p.fmp test.csv
python3 - <<'END'
import json
import xml.etree.ElementTree as tree
lines = [json.loads(line) for line in open("log.jsonl")]
for line in lines:
    if line["step"] == 6:
        print(" ".join(line), " ".join(line.get("valid", "")))
print(len(lines), [line["step"] for line in lines if "valid" in line])
for name in ("curve.svg", "heat.svg"):
    print(name, tree.parse(name).getroot().tag)
END

python3 - <<'END'
import hashlib
import json
data = json.load(open("object.json"))["data"]
digest = hashlib.blake2b(open("test.csv", "rb").read(), digest_size=32).hexdigest()
print("digest", data == f"test.csv:blake2b:{digest}")
END
schema fmpatch fish eval base/model.safetensors missing.fmp test.csv

# Numbers as labels.
printf 'text,score\nfree prize,1.5\nmeeting notes,-0.5\nwinner,2\nagenda,0\n' >scores.csv
python3 -c '
import json
config = json.load(open("base/config.json"))
json.dump({**config, "num_labels": 1}, open("one.json", "w"))'
fmpatch fish init one.json one >name.txt
cp base/vocab.txt one
schema fmpatch fish train one/model.safetensors scores.csv --regression -k 100 --steps 3 \
    --valid scores.csv -o r.fmp
schema fmpatch fish eval one/model.safetensors r.fmp scores.csv
fmpatch fish eval one/model.safetensors r.fmp scores.csv | cut -f 1
fmpatch fish predict one/model.safetensors r.fmp scores.csv --json | python3 -c '
import json, sys
print([" ".join(json.loads(line)) for line in sys.stdin])'
