# needs: fmpatch-fish
# needs: fmpatch-mask
# mask: [0-9a-f]{16}\.\.\. => HEX...
# A model for texts, from random weights to a patch over a patch.
task bert base --dropout 0
task texts train.csv
task texts test.jsonl --seed 2
t fmpatch fish init base/config.json base -f
t fmpatch fish fisher -q base/model.safetensors train.csv -o s.safetensors --estimator expected
t fmpatch mask -q s.safetensors --ratio 0.5 -o m.fmp
t fmpatch fish train -q base/model.safetensors train.csv --mask m.fmp --epochs 30 --lr 0.01 \
    --valid test.jsonl --eval-every 60 -o p.fmp
t fmpatch verify p.fmp --base base/model.safetensors
fmpatch fish eval base/model.safetensors p.fmp test.jsonl --confusion >eval.txt
cut -f 1 eval.txt
awk '$1 == "accuracy" { print($2 > 0.8 ? "learnt" : "not learnt") }' eval.txt
mkdir tuned
cp base/config.json base/vocab.txt tuned
t fmpatch apply -q base/model.safetensors p.fmp -o tuned/model.safetensors
fmpatch fish eval tuned/model.safetensors test.jsonl --confusion >file.txt
cmp file.txt eval.txt

# A second patch, made from the patched model: both in memory are what both on disk are.
task texts more.tsv --seed 3
t fmpatch fish train -q tuned/model.safetensors more.tsv --ratio 0.02 --samples 32 --steps 10 -o q.fmp
t fmpatch apply -q base/model.safetensors p.fmp q.fmp -o twice.safetensors
fmpatch fish predict base/model.safetensors p.fmp q.fmp test.jsonl --json >a.txt
mkdir twice
cp base/config.json base/vocab.txt twice
mv twice.safetensors twice/model.safetensors
fmpatch fish predict twice/model.safetensors test.jsonl --json | python3 -c '
import json, sys
a = [json.loads(line) for line in open("a.txt")]
b = [json.loads(line) for line in sys.stdin]
print(len(a), sorted(a[0]), sorted({x["label"] for x in a}), sorted({x["label"] for x in b}))
print([x["logits"] for x in a] == [x["logits"] for x in b])'
t fmpatch fish eval base/model.safetensors q.fmp test.jsonl
t fmpatch fish eval base/model.safetensors q.fmp p.fmp test.jsonl
t fmpatch revert -q twice/model.safetensors q.fmp -o back.safetensors
cmp back.safetensors tuned/model.safetensors
