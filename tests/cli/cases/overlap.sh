# Which weights patches share, by pair, tensor, layer and set; masks as well.
# needs: fmpatch-mask
pair
checkpoint third.safetensors --tuned --extra
fmpatch create -q base.safetensors tuned.safetensors -o 1.fmp
fmpatch create -q base.safetensors third.safetensors -o 2.fmp
fmpatch subset -q 1.fmp --tensors '*.0.*' --tensors '*norm*' -o 3.fmp
fmpatch invert -q 1.fmp -o 4.fmp
t fmpatch overlap 1.fmp 2.fmp 3.fmp
t fmpatch overlap 1.fmp 2.fmp 3.fmp --by tensor
t fmpatch overlap 1.fmp 3.fmp --by layer
t fmpatch overlap 1.fmp 2.fmp 3.fmp --by set
fmpatch overlap --json 1.fmp 3.fmp | grep -v '"id"'
t fmpatch overlap 1.fmp 4.fmp
t fmpatch overlap --shapes-only 1.fmp 4.fmp
scores s.safetensors
fmpatch-mask s.safetensors --ratio 0.1 --source random --seed 1 -q -o a.fmp >log.txt
fmpatch-mask s.safetensors --ratio 0.1 --source random --seed 2 -q -o b.fmp >log.txt
fmpatch overlap a.fmp b.fmp | cut -f3-6
fmpatch-mask jaccard a.fmp b.fmp
t fmpatch overlap
t fmpatch overlap base.safetensors
