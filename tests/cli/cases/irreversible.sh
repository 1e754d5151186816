# Status 7: what cannot be undone says what stands in the way; with --reversible it can.
# mask: [0-9,]+ bytes, [0-9.]+ times smaller, [0-9.]+ bytes per => N bytes, X times smaller, Y bytes per
checkpoint base.safetensors --extra
checkpoint tuned.safetensors --tuned
fmpatch create -q base.safetensors tuned.safetensors -o p.fmp
t fmpatch revert tuned.safetensors p.fmp -o out
fmpatch inspect p.fmp | grep '^reversible'
fmpatch create -q base.safetensors tuned.safetensors -o q.fmp --reversible
fmpatch inspect q.fmp | grep '^reversible'
t fmpatch revert -q tuned.safetensors q.fmp -o out
cmp out base.safetensors
checkpoint base.safetensors
fmpatch create -q base.safetensors tuned.safetensors -o r.fmp --values set
t fmpatch revert tuned.safetensors r.fmp -o out2
t fmpatch apply -q base.safetensors r.fmp -o out3
cmp out3 tuned.safetensors
t fmpatch apply -q tuned.safetensors r.fmp -o out4
ls
