# needs: fmpatch-fish
# Options that contradict each other, and outputs that are there already, end with 2.
task mlp base
task images train
fmpatch fish init base/config.json base -f >name.txt
rm name.txt
base=base/model.safetensors
data=train-images-idx3-ubyte
train() {
    t fmpatch fish train -q $base $data --steps 1 -o p.fmp "$@"
}
t fmpatch fish train
t fmpatch fish train $base
t fmpatch fish train $base $data more
t fmpatch fish eval $base
t fmpatch fish init base/config.json
train --mask m.fmp --full
train --scores s.safetensors --full
train --mask m.fmp --scores s.safetensors
train --mask m.fmp -k 5
train --full --ratio 0.5
train --full --scope tensor
train --refresh 1 --scope tensor
train --full --samples 5
train -k 5 --ratio 0.5
train --epochs 1
train --patience 2
train --eval-every 2
train --stop-after 2
train --checkpoint-every 2
train --full --refresh 1
train --comment hello
train -k 131
train -k 2213
train --ratio 0
train --ratio 1.5
train -k 0
train --lr -1
train --lr x
train --value-bits 25
train --optimizer adam
train --schedule lin
train --threads 0
train --mask $base
train --scores $base -k 200
train --regression -k 200
t fmpatch fish eval $base $data --regression
t fmpatch fish predict $base $data --regression
t fmpatch fish fisher $base $data --estimator exact
ls

# Nothing is replaced that was not meant to be.
echo mine >p.fmp
train -k 200
cat p.fmp
train -k 200 -f
t fmpatch fish eval $base p.fmp $data | head -n 1
echo mine >s.safetensors
t fmpatch fish fisher -q $base $data -o s.safetensors
cat s.safetensors
t fmpatch fish fisher -q $base $data -o s.safetensors -f
train --scores s.safetensors -k 200 -f
t fmpatch fish init base/config.json base
cp $base copy.safetensors
cp $data copy
for output in $base $data train-labels-idx1-ubyte; do
    t fmpatch fish fisher -q $base $data --labels train-labels-idx1-ubyte -o $output -f
    t fmpatch fish train -q $base $data --labels train-labels-idx1-ubyte --steps 1 -k 200 -o $output -f
done
t fmpatch fish fisher -q $base $data -o -
t fmpatch fish train -q $base $data -k 200 -o -
cmp $base copy.safetensors
cmp $data copy
ls
t fmpatch fish train -q base/model.safetensors train-images-idx3-ubyte -o new.fmp --log train-images-idx3-ubyte
t fmpatch fish train -q base/model.safetensors train-images-idx3-ubyte -o new.fmp --curve base/model.safetensors
