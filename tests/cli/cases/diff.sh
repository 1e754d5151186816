# How two patches differ in what they do: weights, tensors, files, manifests; not how they are coded.
# mask: [0-9a-f]{64} => HEX
pair
checkpoint third.safetensors --tuned --extra
fmpatch create -q base.safetensors tuned.safetensors -o 1.fmp
fmpatch create -q base.safetensors third.safetensors -o 2.fmp
fmpatch subset -q 1.fmp --tensors '*.0.*' --tensors '*norm*' -o part.fmp
fmpatch invert -q 1.fmp -o back.fmp
t fmpatch diff 1.fmp part.fmp
t fmpatch diff 1.fmp 2.fmp
t fmpatch diff part.fmp 2.fmp
fmpatch diff --json part.fmp 2.fmp
# Coded otherwise, signed: the same.
cp 1.fmp again.fmp
key alice
fmpatch create -q base.safetensors tuned.safetensors --level 9 --no-check --sign alice.key -o again.fmp -f
t fmpatch diff 1.fmp again.fmp
fmpatch create -q base.safetensors tuned.safetensors --values set -o set.fmp
t fmpatch diff 1.fmp set.fmp
# Side files, and what manifests say.
mkdir x y
cp base.safetensors x
cp tuned.safetensors y
echo '{}' >x/config.json
echo '{"a": 1}' >y/config.json
fmpatch create -q x y -o dir.fmp
t fmpatch diff 1.fmp dir.fmp
fmpatch create -q base.safetensors tuned.safetensors --task spam -o named.fmp
t fmpatch diff 1.fmp named.fmp
fmpatch diff --json 1.fmp named.fmp | sed -n '/manifest/,$p'
# Other bases.
t fmpatch diff 1.fmp back.fmp
t fmpatch diff --shapes-only 1.fmp back.fmp
t fmpatch diff 1.fmp
t fmpatch diff 1.fmp 2.fmp part.fmp
t fmpatch diff 1.fmp base.safetensors
