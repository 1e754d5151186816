# Status 5: what is missing, is no regular file, or cannot be written.
pair
fmpatch create -q base.safetensors tuned.safetensors -o p.fmp
t fmpatch create missing tuned.safetensors -o q.fmp
t fmpatch create base.safetensors missing -o q.fmp
t fmpatch create base.safetensors tuned.safetensors -o missing/q.fmp
t fmpatch create base.safetensors tuned.safetensors -o q.fmp --manifest missing.json
t fmpatch create base.safetensors tuned.safetensors -o q.fmp --sign missing.key
t fmpatch apply base.safetensors missing.fmp -o out
t fmpatch apply missing p.fmp -o out
t fmpatch verify missing.fmp
mkfifo fifo
t fmpatch verify fifo
t env TMPDIR="$PWD/missing" "$FMPATCH" verify - <p.fmp
t sh -c '"$FMPATCH" stat p.fmp >/dev/full'
ls
