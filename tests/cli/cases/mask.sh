# mask: [0-9,]+ bytes => N bytes
# mask: "bytes": [0-9]+ => "bytes": N
# A mask selects exactly as many as were asked for, the head always, for any number of threads.
# The program that `fmpatch mask` runs lies beside fmpatch, or in a directory of its own where both are
# built.
PATH="$(dirname "$FMPATCH"):$(dirname "$FMPATCH")/mask:$PATH"
scores s.safetensors --head model.norm.weight
t fmpatch mask s.safetensors -k 100
t fmpatch mask s.safetensors -k 100
t fmpatch mask s.safetensors -k 232 -f -q
fmpatch mask show s.mask.fmp
t fmpatch mask --ratio 0.1 s.safetensors -o r.fmp --threads 1
fmpatch mask -q --ratio 0.1 s.safetensors -o r2.fmp --threads 2
cmp r.fmp r2.fmp
t fmpatch mask s.safetensors -k 300 --scope rows --deny '*.layers.1?.*' --head '*.1.*' -o rows.fmp
fmpatch mask s.safetensors -k 300 --scope rows --deny '*.layers.1?.*' --head 'model.norm.*' -o rows.fmp
fmpatch mask show rows.fmp
for scope in global tensor columns blocks blocks:4; do
    fmpatch mask -q s.safetensors -k 463 --scope $scope -o scope.fmp -f
    fmpatch mask show scope.fmp | tail -1
done
fmpatch mask s.safetensors -k 99 --json -o j.fmp
fmpatch mask show j.fmp --json
fmpatch mask s.safetensors --bytes 5000 -o b.fmp
scores tied.safetensors --tied
fmpatch mask tied.safetensors --ratio 0.9
fmpatch inspect j.fmp --json | python3 -c '
import json, sys
print(json.dumps(json.load(sys.stdin)["manifest"]["method"], sort_keys=True))'
