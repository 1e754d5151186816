# mask: [0-9,]+ bytes => N bytes
# Weights themselves can rank, and so can chance.
# The program that `fmpatch mask` runs lies beside fmpatch, or in a directory of its own where both are
# built.
PATH="$(dirname "$FMPATCH"):$(dirname "$FMPATCH")/mask:$PATH"
pair
for source in random magnitude magnitude-low; do
    t fmpatch mask --source $source --model base.safetensors -k 200 -o $source.fmp
done
t fmpatch mask --source random --seed 1 --model base.safetensors -k 200 -o seed.fmp
fmpatch mask jaccard random.fmp seed.fmp
fmpatch mask jaccard magnitude.fmp magnitude-low.fmp
t fmpatch mask --source delta --model base.safetensors --tuned tuned.safetensors -k 162 -o delta.fmp
fmpatch create -q base.safetensors tuned.safetensors -o p.fmp
fmpatch stat p.fmp | cut -f 1-3
fmpatch mask show delta.fmp | cut -f 1-3
scores s.safetensors
fmpatch mask -q s.safetensors -k 4640 --source magnitude --model base.safetensors -o most.fmp
fmpatch mask -q s.safetensors -k 4640 --source magnitude --model base.safetensors --reversed -o least.fmp
fmpatch mask jaccard most.fmp least.fmp
t fmpatch mask --source bias --model base.safetensors -o bias.fmp
