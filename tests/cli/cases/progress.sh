# Progress on a terminal that can show it, and nowhere else; the line is gone before a result is printed.
pair
fmpatch create base.safetensors tuned.safetensors -o p.fmp 2>err.txt >out.txt
tr -cd '\r\033' <err.txt | wc -c

python3 -c '
import random
random.seed(1)
data = bytearray(random.randbytes(48 << 20))
open("base.bin", "wb").write(data)
for i in range(0, len(data), 5):
    data[i] ^= 1
open("tuned.bin", "wb").write(data)'
shown() { # whether the command draws a line
    on-tty "$@" >shown.txt
    if grep -q '\\rcreate  [0-9<.]*%  [0-9.]* [kM]B of [0-9.]* MB' shown.txt; then
        echo shown
        grep -c '\\r\\e\[K[a-z0-9./]*\.fmp: ' shown.txt
    else
        echo "not shown"
    fi
}
shown env TERM=xterm "$FMPATCH" create base.bin tuned.bin -o 1.fmp
shown "$FMPATCH" create base.bin tuned.bin -o 2.fmp # TERM=dumb
shown env TERM=xterm "$FMPATCH" create base.bin tuned.bin -o 3.fmp --no-progress
shown env TERM=xterm "$FMPATCH" create base.bin tuned.bin -o 4.fmp -q
shown env TERM=xterm FMPATCH_NO_PROGRESS=1 "$FMPATCH" create base.bin tuned.bin -o 5.fmp
