# No progress where there is no terminal, or where it is not wanted.
pair
fmpatch create base.safetensors tuned.safetensors -o p.fmp 2>err.txt >out.txt
tr -cd '\r\033' <err.txt | wc -c
for option in -q --no-progress; do
    on-tty env TERM=xterm "$FMPATCH" verify p.fmp $option | grep -c ETA
done
on-tty env TERM=xterm FMPATCH_NO_PROGRESS=1 "$FMPATCH" verify p.fmp | grep -c ETA
