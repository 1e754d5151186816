# needs: fmpatch-fish
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
schema fmpatch fish eval base/model.safetensors missing.fmp test.csv
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

# Numbers as labels.
printf 'text,score\nfree prize,1.5\nmeeting notes,-0.5\nwinner,2\nagenda,0\n' >scores.csv
schema fmpatch fish train base/model.safetensors scores.csv --regression -k 100 --steps 3 --valid scores.csv -o r.fmp
schema fmpatch fish eval base/model.safetensors r.fmp scores.csv
fmpatch fish eval base/model.safetensors r.fmp scores.csv | cut -f 1
fmpatch fish predict base/model.safetensors r.fmp scores.csv --json | python3 -c '
import json, sys
print([" ".join(json.loads(line)) for line in sys.stdin])'
