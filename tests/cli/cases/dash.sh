# "-": a patch through pipes, both ways; a terminal is refused.
pair
fmpatch create -q base.safetensors tuned.safetensors -o p.fmp
fmpatch create -q base.safetensors tuned.safetensors -o - >q.fmp
cmp p.fmp q.fmp
fmpatch create -q base.safetensors tuned.safetensors -o - | fmpatch apply base.safetensors - -o out
cmp out tuned.safetensors
t fmpatch inspect - --json <p.fmp | head -n 2
t fmpatch apply base.safetensors - <p.fmp
t fmpatch apply base.safetensors - - -o out2 <p.fmp
t fmpatch create base.safetensors tuned.safetensors -o - --json
t sh -c '"$FMPATCH" create -q base.safetensors tuned.safetensors -o - >/dev/full'
t on-tty "$FMPATCH" create base.safetensors tuned.safetensors -o -
t on-tty "$FMPATCH" verify -
t fmpatch sign - --strip <p.fmp
ls
