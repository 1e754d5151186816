# needs: fmpatch-fish
# An option that would do nothing, or whose 0 would mean the default, is refused.
task mlp base
task images train
fmpatch fish init base/config.json base -f >name.txt
data=train-images-idx3-ubyte
train() {
    t fmpatch fish train -q base/model.safetensors $data --steps 1 -o p.fmp "$@"
}
train --lr 0
train --beta1 0
train --optimizer sgd --momentum 0 --nesterov
train --nesterov
train --momentum 0.5
train --optimizer sgd --beta2 0.9
train --value-phase 0.5
train --value-bits 4 --value-phase 0
train --moments reset
train --full --heatmap heat.svg
train --scores s.safetensors --samples 9
train --std 0
t fmpatch fish train -q base/model.safetensors $data --full -o none/p.fmp
t fmpatch fish fisher -q base/model.safetensors $data -o none/s.safetensors
train -k 200 --refresh 1 --reference-leak --moments reset --optimizer sgd
ls

# --mean and --std count one without the other.
logits() {
    fmpatch fish predict base/model.safetensors $data --logits "$@"
}
logits >half.txt
logits --mean 0.5 --std 0.5 | cmp - half.txt
logits --mean 0.2 | cmp -s - half.txt || echo "mean differs"
logits --std 0.2 | cmp -s - half.txt || echo "std differs"
logits --mean 0.2 --std 0.5 >both.txt
logits --mean 0.2 | cmp - both.txt

# Without a patch that names classes, images of some classes only are measured by the numbers of
# those that there are.
python3 - <<'END'
images = open("train-images-idx3-ubyte", "rb").read()
labels = open("train-labels-idx1-ubyte", "rb").read()
size = (len(images) - 16) // (len(labels) - 8)
kept = [i for i, label in enumerate(labels[8:]) if label in (1, 3)]
count = len(kept).to_bytes(4, "big")
open("some-images-idx3-ubyte", "wb").write(
    images[:4] + count + images[8:16] + b"".join(images[16 + size * i:][:size] for i in kept))
open("some-labels-idx1-ubyte", "wb").write(labels[:4] + count + bytes(labels[8 + i] for i in kept))
END
rows() {
    fmpatch fish eval base/model.safetensors "$@" --confusion | grep '^[13]	'
}
rows $data >all.txt
rows some-images-idx3-ubyte | cmp - all.txt
wc -l <all.txt
task bert text
python3 -c 'import json; c = json.load(open("text/config.json")); json.dump({**c, "num_labels": 3}, open("c.json", "w"))'
fmpatch fish init c.json text -f >name.txt
task texts train.csv
t fmpatch fish eval text/model.safetensors train.csv

# How DATA was read in training is in the patch, and eval and predict read it so too; their own
# options win.
fmpatch fish train -q base/model.safetensors $data --full --steps 9 --mean 0.3 --std 0.123456789 -o m.fmp
fmpatch inspect m.fmp --json | python3 -c '
import json, sys
print(json.dumps(json.load(sys.stdin)["manifest"]["task"], sort_keys=True))'
read_so() {
    fmpatch fish predict base/model.safetensors m.fmp $data --logits "$@"
}
read_so >so.txt
read_so --mean 0.3 --std 0.123456789 | cmp - so.txt
read_so --mean 0.5 --std 0.5 | cmp -s - so.txt || echo "options win"
task bert text
fmpatch fish init text/config.json text -f >name.txt
fmpatch fish train -q text/model.safetensors train.csv --full --steps 9 --max-tokens 5 -o t.fmp
fmpatch fish predict text/model.safetensors t.fmp train.csv --logits >so.txt
fmpatch fish predict text/model.safetensors t.fmp train.csv --logits --max-tokens 5 | cmp - so.txt
fmpatch fish predict text/model.safetensors t.fmp train.csv --logits --max-tokens 6 | cmp -s - so.txt ||
    echo "options win"
