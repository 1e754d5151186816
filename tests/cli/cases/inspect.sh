# What a patch is: facts, manifest, files, tensors; foreign names cannot drive the terminal.
# mask: [0-9a-f]{64} => HEX
# mask: bytes\t[0-9,]+, of these [0-9,]+ payload in [0-9]+ frames? => bytes\tN
checkpoint base.safetensors
checkpoint tuned.safetensors --tuned --odd
fmpatch create -q base.safetensors tuned.safetensors -o p.fmp --task "$(printf 'evil\033[2J')"
fmpatch inspect p.fmp >facts.txt
sed '/^Manifest/,/^}/d' facts.txt
fmpatch inspect p.fmp --tensors | grep -A 100 ^TENSOR | cut -f 1-8
fmpatch inspect p.fmp --names 'model.layers.1*' | grep -A 100 ^TENSOR | cut -f 1-8
fmpatch inspect p.fmp --tensors --json | python3 -c '
import json, sys
o = json.load(sys.stdin)
print(o["schema"], sorted(o))
print(sorted(o["tensor_list"][0]))
print(o["manifest"]["task"]["name"] == "evil\033[2J")'
on-tty "$FMPATCH" inspect p.fmp --tensors >shown.txt
grep -c '\\e' shown.txt || true
