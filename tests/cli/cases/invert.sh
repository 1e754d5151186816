# The inverse of a patch, and a patch that has none.
# mask: [0-9,]+ bytes, => N bytes,
pair
fmpatch create -q base.safetensors tuned.safetensors -o task.fmp
t fmpatch invert task.fmp
fmpatch apply -q tuned.safetensors task.inverse.fmp -o back.safetensors
same back.safetensors base.safetensors
fmpatch create -q base.safetensors tuned.safetensors --values set -o set.fmp
t fmpatch invert set.fmp
t fmpatch invert --json set.fmp
cat task.fmp | fmpatch invert -q - -o - >piped.fmp
same piped.fmp task.inverse.fmp
t fmpatch invert - <task.fmp
ls
