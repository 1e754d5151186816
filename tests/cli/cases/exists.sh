# Status 2: an output that exists stays as it is without -f; no output ever replaces an input by default.
pair
t fmpatch create -q base.safetensors tuned.safetensors -o p.fmp
echo precious >taken
t fmpatch create base.safetensors tuned.safetensors -o taken
t fmpatch apply base.safetensors p.fmp -o taken
t fmpatch revert tuned.safetensors p.fmp -o taken
cat taken
t fmpatch create -q -f base.safetensors tuned.safetensors -o taken
cmp taken p.fmp
t fmpatch apply -q -f base.safetensors p.fmp -o taken
cmp taken tuned.safetensors
t fmpatch create -f base.safetensors tuned.safetensors -o base.safetensors
cp p.fmp base.fmp
t fmpatch apply -f base.safetensors base.fmp
t fmpatch apply base.safetensors p.fmp -o ''
t fmpatch apply base.safetensors p.fmp -o -
pair
ls
