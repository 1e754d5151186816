# mask: [0-9,]+ bytes => N bytes
# mask: "bytes": [0-9]+ => "bytes": N
# Masks are sets; a split is disjoint but for the head, and complete.
# The program that `fmpatch mask` runs lies beside fmpatch, or in a directory of its own where both are
# built.
PATH="$(dirname "$FMPATCH"):$(dirname "$FMPATCH")/mask:$PATH"
scores s.safetensors --head model.norm.weight
fmpatch mask -q s.safetensors -k 132 -o a.mask.fmp
fmpatch mask -q s.safetensors -k 132 --source random --model s.safetensors -o b.mask.fmp
for op in union intersect subtract xor; do
    t fmpatch mask $op a.mask.fmp b.mask.fmp -o $op.fmp
done
t fmpatch mask xor a.mask.fmp a.mask.fmp -o none.fmp --json
fmpatch mask subtract union.fmp intersect.fmp -o xor2.fmp -q
fmpatch mask jaccard xor.fmp xor2.fmp
t fmpatch mask jaccard a.mask.fmp b.mask.fmp --json
t fmpatch mask split a.mask.fmp s.safetensors -n 3
t fmpatch mask split a.mask.fmp s.safetensors -n 3 -q
t fmpatch mask split a.mask.fmp s.safetensors -n 3 -f -q --json
fmpatch mask intersect a.0.mask.fmp a.1.mask.fmp -q -o head.fmp
fmpatch mask show head.fmp
fmpatch mask union a.0.mask.fmp a.1.mask.fmp -q -o ab.fmp
fmpatch mask union ab.fmp a.2.mask.fmp -q -o abc.fmp
fmpatch mask jaccard abc.fmp a.mask.fmp
fmpatch mask union a.mask.fmp b.mask.fmp -o - -q | fmpatch mask show - | tail -1
