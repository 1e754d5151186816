# needs: fmpatch-fish
# mask: [0-9]+\.[0-9]+ => X
# mask: [0-9,]+ bytes => N bytes
# What is told on standard error, and the line that moves on a terminal.
task mlp base
task images train
task images test --seed 2
fmpatch fish init base/config.json base -f >name.txt
base=base/model.safetensors
data=train-images-idx3-ubyte
t fmpatch fish fisher $base $data --samples 50 -o s.safetensors
t fmpatch fish train $base $data -k 300 --epochs 2 --valid test-images-idx3-ubyte -o p.fmp
t fmpatch fish train $base $data -k 300 --steps 9 --checkpoint state --stop-after 4 -o q.fmp
t fmpatch fish train $base $data -k 300 --steps 9 --checkpoint state -o q.fmp
t fmpatch fish train -q $base $data --full --steps 2 -o f.fmp
t fmpatch fish eval -q $base p.fmp $data | head -n 1
shown() { # whether the command draws lines, and takes them away before a result
    on-tty "$@" >shown.txt
    grep -c '\\r\\e\[K\(fisher\|train\) [0-9]*/' shown.txt
    tail -n 1 shown.txt
}
shown env TERM=xterm "$FMPATCH" fish fisher $base $data --samples 50 -o 1.safetensors
shown env TERM=xterm "$FMPATCH" fish train $base $data -k 300 --steps 9 -o 1.fmp
for tool in "env TERM=dumb" "env TERM=xterm FMPATCH_NO_PROGRESS=1"; do
    shown $tool "$FMPATCH" fish train $base $data -k 300 --steps 9 -o 2.fmp -f
done
shown env TERM=xterm "$FMPATCH" fish train $base $data -k 300 --steps 9 -o 3.fmp --no-progress
shown env TERM=xterm "$FMPATCH" fish train $base $data -k 300 --steps 9 -o 4.fmp -q
