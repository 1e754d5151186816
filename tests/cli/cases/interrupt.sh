# A signal ends the program as if it had not been caught, and what it had begun is gone.
mkfifo fifo
exec 3<>fifo
"$FMPATCH" verify - <fifo >out.txt 2>err.txt &
pid=$!
sleep 0.5
kill -TERM $pid
wait $pid 2>wait.txt && s=0 || s=$?
echo "reading standard input = $s"
exec 3>&-
cat out.txt err.txt
rm -f fifo *.txt

python3 -c '
import random
random.seed(1)
data = bytearray(random.randbytes(96 << 20))
open("base.bin", "wb").write(data)
for i in range(0, len(data), 5):
    data[i] ^= 1
open("tuned.bin", "wb").write(data)'
"$FMPATCH" create base.bin tuned.bin -o p.fmp --threads 1 >../out.txt 2>../err.txt &
pid=$!
until [ "$(ls -A | wc -l)" -gt 2 ]; do # until the temporary is there
    sleep 0.02
done
kill -TERM $pid 2>../kill.txt # in the background, sh has SIGINT ignored
wait $pid 2>../wait.txt && s=0 || s=$?
echo "creating = $s"
cat ../out.txt ../err.txt
ls -A
