# needs: fmpatch-fish
# mask: "mask": "[0-9a-f]{64}" => "mask": "HEX"
# mask: blake2b:[0-9a-f]{64} => blake2b:HEX
# needs: fmpatch-mask
# A model for images, from random weights to a signed patch, and back.
key alice
task mlp new
task images train
task images test --seed 2
t fmpatch fish init new/config.json base
ls base
t fmpatch fish fisher -q base/model.safetensors train-images-idx3-ubyte
t fmpatch mask -q train-images-idx3-ubyte.scores.safetensors --ratio 0.1 -o m.mask.fmp
t fmpatch fish train -q base/model.safetensors train-images-idx3-ubyte --mask m.mask.fmp --epochs 6 \
    --lr 0.01 --valid test-images-idx3-ubyte --task quarters --sign alice.key --comment 'four quarters' \
    -o p.fmp
t fmpatch verify p.fmp -p alice.pub --base base/model.safetensors
fmpatch inspect p.fmp --json >p.json
python3 -c '
import json
p = json.load(open("p.json"))
manifest = p["manifest"]
method = manifest["method"]
print(p["changed"] <= method["k"] == int(0.1 * method["elements"]), manifest["kind"])
print(json.dumps(manifest["task"], sort_keys=True))
print(json.dumps(method, sort_keys=True))
print(json.dumps(manifest["data"], sort_keys=True, indent=1))
print(sorted(manifest["metrics"]))'

# The model has learnt, in memory and as a file.
fmpatch fish eval base/model.safetensors p.fmp test-images-idx3-ubyte -p alice.pub >eval.txt
cut -f 1 eval.txt
awk '$1 == "accuracy" { print($2 > 0.9 ? "learnt" : "not learnt") }' eval.txt
mkdir tuned
cp base/config.json tuned
t fmpatch apply -q base/model.safetensors p.fmp -p alice.pub -o tuned/model.safetensors
fmpatch fish eval tuned/model.safetensors test-images-idx3-ubyte | cmp - eval.txt
fmpatch fish predict base/model.safetensors p.fmp -p alice.pub test-images-idx3-ubyte --logits >a.txt
fmpatch fish predict tuned/model.safetensors test-images-idx3-ubyte --logits | cmp - a.txt
awk 'NF != 6' a.txt
wc -l <a.txt
t fmpatch revert -q tuned/model.safetensors p.fmp -p alice.pub -o back.safetensors
cmp back.safetensors base/model.safetensors

# npy in the place of IDX: the same images, so the same answers.
task images test --seed 2 --npy
fmpatch fish predict tuned/model.safetensors test-images.npy --logits | cmp - a.txt
gzip -n test-images-idx3-ubyte
fmpatch fish predict tuned/model.safetensors test-images-idx3-ubyte.gz --logits | cmp - a.txt
