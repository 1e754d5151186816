# needs: fmpatch-fish
# The same command makes the same patch, with one thread and with two.
task mlp mlp
task bert bert
task images train
task texts train.csv
task texts test.csv --seed 2
for model in mlp bert; do
    fmpatch fish init $model/config.json $model -f
    cp $model/model.safetensors $model.safetensors
    fmpatch fish init $model/config.json $model -f >again.txt
    cmp $model/model.safetensors $model.safetensors
    fmpatch fish init $model/config.json $model -f --seed 1 >again.txt
    cmp -s $model/model.safetensors $model.safetensors || echo "another seed, another model"
    mv $model.safetensors $model/model.safetensors
done
for estimator in empirical expected sampled absolute batch-squared snip; do
    fmpatch fish fisher -q mlp/model.safetensors train-images-idx3-ubyte --estimator $estimator \
        --samples 40 --threads 1 -o $estimator-1
    fmpatch fish fisher -q mlp/model.safetensors train-images-idx3-ubyte --estimator $estimator \
        --samples 40 --threads 2 -o $estimator-2
    cmp $estimator-1 $estimator-2
    fmpatch fish fisher -q bert/model.safetensors train.csv --estimator $estimator --threads 1 -f -o $estimator-1
    fmpatch fish fisher -q bert/model.safetensors train.csv --estimator $estimator --threads 2 -f -o $estimator-2
    cmp $estimator-1 $estimator-2
done
n=0
while read -r options; do
    n=$((n + 1))
    for threads in 1 2 2; do
        fmpatch fish train -q bert/model.safetensors train.csv --valid test.csv --steps 13 --threads $threads \
            -f -o $n.fmp $options >name.txt || echo "status $?"
        cp $n.fmp bert-$threads.fmp
        [ -e $n-first.fmp ] || cp $n.fmp $n-first.fmp
        cmp $n.fmp $n-first.fmp
    done
    echo "$options"
done <<'END'
-k 200
-k 200 --seed 5
--full --optimizer sgd --nesterov --weight-decay 0.01
-k 500 --ema 0.9 --accumulate 2 --batch 5 --label-smoothing 0.1
-k 300 --value-bits 3 --refresh 1 --moments reset
-k 300 --patience 2 --eval-every 2 --schedule cosine --warmup 3 --clip 0.1
-k 300 --dense-gradient --no-dropout
END
cmp -s 1.fmp 2.fmp || echo "another seed, another patch"
