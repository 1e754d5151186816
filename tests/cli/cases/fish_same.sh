# needs: fmpatch-fish
# The same command makes the same patch, with one thread and with two.
task mlp mlp
task bert bert
task images train
task texts train.csv
task texts test.csv --seed 2
for model in mlp bert; do
    fmpatch fish init $model/config.json $model -f >name.txt
    cp $model/model.safetensors $model.safetensors
    fmpatch fish init $model/config.json $model -f >name.txt
    cmp $model/model.safetensors $model.safetensors
    fmpatch fish init $model/config.json $model -f --seed 1 >name.txt
    cmp -s $model/model.safetensors $model.safetensors || echo "another seed, another model"
    mv $model.safetensors $model/model.safetensors
done
fisher() { # THREADS OPTION...
    fmpatch fish fisher -q --threads "$@" -f >name.txt
}
for estimator in empirical expected sampled absolute batch-squared snip; do
    for threads in 1 2; do
        fisher $threads mlp/model.safetensors train-images-idx3-ubyte --estimator $estimator \
            --samples 40 -o mlp-$threads
        fisher $threads bert/model.safetensors train.csv --estimator $estimator -o bert-$threads
    done
    cmp mlp-1 mlp-2
    cmp bert-1 bert-2
    cp bert-1 bert-$estimator
done
sha256sum bert-[a-z]* | cut -c 1-64 | sort -u | wc -l
n=0
while read -r options; do
    n=$((n + 1))
    for threads in 1 2 2; do
        fmpatch fish train -q bert/model.safetensors train.csv --valid test.csv --steps 13 \
            --threads $threads -f -o $n.fmp $options >name.txt || echo "status $?"
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
task resnet net
fmpatch fish init net/config.json net -f >name.txt
for threads in 1 2; do
    fmpatch fish train -q net/model.safetensors train-images-idx3-ubyte -k 300 --steps 7 --batch-norm \
        --threads $threads -o net-$threads.fmp >name.txt
done
cmp net-1.fmp net-2.fmp
cmp -s 1.fmp 2.fmp || echo "another seed, another patch"
