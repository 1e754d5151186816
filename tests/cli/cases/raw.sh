# Any file is plain bytes; --raw takes a checkpoint so, and apply finds out by itself.
pair
fmpatch create -q base.safetensors tuned.safetensors -o p.fmp --raw
t fmpatch apply -q base.safetensors p.fmp -o out
cmp out tuned.safetensors
t fmpatch revert -q tuned.safetensors p.fmp -o back
cmp back base.safetensors
seq 1000 >a.txt
seq 1001 >b.txt
t fmpatch create -q a.txt b.txt --width 8
t fmpatch apply -q a.txt b.fmp -o c.txt
cmp b.txt c.txt
