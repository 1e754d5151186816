# A mask is told as such, and is a patch in everything else.
# mask: [0-9a-f]{64} => HEX
# mask: bytes\t[0-9,]+, of these [0-9,]+ payload in [0-9]+ frames? => bytes\tN
cp "$CLI"/../golden/mask.* .
fmpatch inspect --tensors mask.fmp | sed '/^Manifest/,/^}/d' | cut -f 1-8
t fmpatch verify mask.fmp --base mask.base.safetensors
t fmpatch apply -q mask.base.safetensors mask.fmp -o out.safetensors
same out.safetensors mask.target.safetensors
