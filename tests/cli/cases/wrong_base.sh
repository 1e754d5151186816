# Status 4: the wrong base names the first tensor that differs, an already patched base too; nothing is
# written.
# mask: [0-9a-f]{16,64} => DIGEST
pair
checkpoint other.safetensors --other
fmpatch create -q base.safetensors tuned.safetensors -o p.fmp
t fmpatch apply other.safetensors p.fmp -o out
t fmpatch apply tuned.safetensors p.fmp -o out
t fmpatch apply base.safetensors p.fmp p.fmp -o out
t fmpatch revert base.safetensors p.fmp -o out
t fmpatch verify p.fmp --base other.safetensors
t fmpatch apply other.safetensors p.fmp -o out --json
ls
