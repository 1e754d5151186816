# needs: fmpatch-fish
# Training that was stopped, or killed, and goes on gives the patch of training that was not.
task bert base
task texts train.csv
task texts test.csv --seed 2
fmpatch fish init base/config.json base -f
train() {
    fmpatch fish train -q base/model.safetensors train.csv "$@"
}
while read -r options; do
    rm -f ./*.fmp state
    train --steps 20 $options -o whole.fmp
    while [ ! -e parts.fmp ]; do
        train --steps 20 $options -o parts.fmp --checkpoint state --stop-after 8
    done
    cmp whole.fmp parts.fmp
    echo "$options"
done <<'END'
-k 200
-k 200 --optimizer sgd --ema 0.9
-k 200 --value-bits 3 --refresh 1
-k 200 --valid test.csv --patience 9 --eval-every 3
--full --weight-decay 0.01
END

# What is another training is refused, and so is what is no checkpoint.
rm -f ./*.fmp state
t train --steps 20 -k 200 --checkpoint state --stop-after 8
t train --steps 21 -k 200 --checkpoint state
t train --steps 20 -k 200 --checkpoint state --lr 0.1
head -c 200 state >cut
t train --steps 20 -k 200 --checkpoint cut -o p.fmp >cut.txt 2>&1
tail -n 1 cut.txt
ls

# Killed: not even a temporary of the patch is there.
train --steps 400 -k 200 -o whole.fmp
rm -f state
"$FMPATCH" fish train -q base/model.safetensors train.csv --steps 400 -k 200 --checkpoint state \
    --checkpoint-every 1 -o parts.fmp &
pid=$!
until [ -e state ]; do
    :
done
kill -KILL $pid
wait $pid 2>wait.txt && s=0 || s=$?
echo "killed = $s"
ls parts.fmp* 2>/dev/null
train --steps 400 -k 200 --checkpoint state -o parts.fmp --log log.jsonl
cmp whole.fmp parts.fmp
python3 -c '
import json
print("went on:", json.loads(next(open("log.jsonl")))["step"] > 1)'
