# Promise 1: base + patch = target, byte for byte, and back; default names; results on the right streams.
# mask: [0-9,]+ bytes, [0-9.]+ times smaller, [0-9.]+ bytes per => N bytes, X times smaller, Y bytes per
pair
t fmpatch create base.safetensors tuned.safetensors
mkdir out
cd out
t fmpatch apply ../base.safetensors ../tuned.fmp
cmp ../tuned.safetensors tuned.safetensors
t fmpatch revert tuned.safetensors ../tuned.fmp
cmp ../base.safetensors tuned.base.safetensors
t fmpatch verify ../tuned.fmp
t fmpatch verify ../tuned.fmp --base ../base.safetensors
ls
