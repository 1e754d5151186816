# needs: fmpatch-fish
# Training that was stopped, or killed, and goes on gives the patch of training that was not.
task bert base
task texts train.csv
task texts test.csv --seed 2
fmpatch fish init base/config.json base -f >name.txt
train() {
    fmpatch fish train -q base/model.safetensors train.csv -o p.fmp "$@" >name.txt
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

# The running statistics of a network that trains them go on, too.
task resnet net
task images train
fmpatch fish init net/config.json net -f >name.txt
train_net() {
    fmpatch fish train -q net/model.safetensors train-images-idx3-ubyte -k 300 --epochs 3 --batch-norm \
        --optimizer sgd "$@" >name.txt
}
rm -f ./*.fmp state
train_net -o whole.fmp
while [ ! -e parts.fmp ]; do
    train_net -o parts.fmp --checkpoint state --stop-after 7
done
cmp whole.fmp parts.fmp

# What is another training is refused, and so is what is no checkpoint.
rm -f ./*.fmp state
t train --steps 20 -k 200 --checkpoint state --stop-after 8
t train --steps 21 -k 200 --checkpoint state
t train --steps 20 -k 200 --checkpoint state --lr 0.1
head -c 200 state >cut
t train --steps 20 -k 200 --checkpoint cut
ls p.fmp* 2>ls.txt

# Killed: not even a temporary of the patch is there.
train --steps 400 -k 200 -o whole.fmp
rm -f state
"$FMPATCH" fish train -q base/model.safetensors train.csv --steps 400 -k 200 --checkpoint state \
    --checkpoint-every 1 -o parts.fmp >name.txt &
pid=$!
until [ -e state ]; do
    :
done
kill -KILL $pid
wait $pid 2>wait.txt && s=0 || s=$?
echo "killed = $s"
ls parts.fmp* 2>ls.txt
train --steps 400 -k 200 --checkpoint state -o parts.fmp --log log.jsonl
cmp whole.fmp parts.fmp
python3 -c '
import json
steps = [json.loads(line)["step"] for line in open("log.jsonl")]
print("went on:", 1 < steps[0] < steps[-1] == 400)'
