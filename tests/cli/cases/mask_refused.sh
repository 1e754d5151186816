# mask: [0-9,]+ bytes => N bytes
# What makes no sense is refused, with a status, and writes nothing.
# The program that `fmpatch mask` runs lies beside fmpatch, or in a directory of its own where both are
# built.
PATH="$(dirname "$FMPATCH"):$(dirname "$FMPATCH")/mask:$PATH"
scores s.safetensors --head model.norm.weight
t fmpatch mask
t fmpatch mask s.safetensors
t fmpatch mask s.safetensors -k 5 --ratio 0.1
t fmpatch mask s.safetensors -k 31
t fmpatch mask s.safetensors -k 4641
t fmpatch mask s.safetensors --ratio 1.5
t fmpatch mask s.safetensors --ratio 0
t fmpatch mask s.safetensors -k 99 --allow 'layers.*'
t fmpatch mask s.safetensors -k 99 --scope diagonal
t fmpatch mask s.safetensors -k 99 --scope blocks:1
t fmpatch mask s.safetensors -k 99 --source magnitude
t fmpatch mask s.safetensors -k 99 --source fisch
t fmpatch mask s.safetensors -k 99 --seed 1
t fmpatch mask s.safetensors -k 99 -o s.safetensors -f
t fmpatch mask unoin a b
for bad in nan inf -inf -1 -0; do
    scores bad.safetensors --bad=$bad
    t fmpatch mask bad.safetensors -k 99 -o bad.fmp -f
done
t fmpatch mask nothing.safetensors -k 9
pair
fmpatch create -q base.safetensors tuned.safetensors -o p.fmp
t fmpatch mask show p.fmp
t fmpatch mask show s.safetensors
fmpatch mask -q s.safetensors -k 99 -o a.fmp
checkpoint extra.safetensors --extra
fmpatch mask -q --source random --model extra.safetensors -k 99 -o b.fmp
t fmpatch mask union a.fmp b.fmp
t fmpatch mask union a.fmp b.fmp -o c.fmp
t fmpatch mask union a.fmp a.fmp -o b.fmp
t fmpatch mask union a.fmp p.fmp -o c.fmp
t fmpatch mask split a.fmp s.safetensors
t fmpatch mask split a.fmp nothing.safetensors -n 2 --json
head -c 500 a.fmp >short.fmp
t fmpatch mask show short.fmp 2>short.txt
cut -d ' ' -f 1-2 short.txt
ls *.fmp
