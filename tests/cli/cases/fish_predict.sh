# needs: fmpatch-fish
# A label for each example, whether it has one or not.
task bert base --dropout 0
task texts train.csv
fmpatch fish init base/config.json base -f >name.txt
fmpatch fish train -q base/model.safetensors train.csv --full --epochs 30 --lr 0.01 -o p.fmp >name.txt
predict() {
    fmpatch fish predict base/model.safetensors p.fmp "$@"
}
printf 'text\nfree money for the winner\nminutes of the meeting\ncash prize\nunheard of\n' >new.csv
predict new.csv >new.txt
head -n 3 new.txt | cut -f 1
awk -F '\t' 'NF == 2 && !($2 > 0.4 && $2 <= 1)' new.txt
wc -l <new.txt
for kind in csv tsv jsonl; do
    task texts x.$kind --seed 4 --no-labels
    predict x.$kind >x.txt
    [ -e first.txt ] || cp x.txt first.txt
    cmp x.txt first.txt
done
task texts x.csv --seed 4
predict x.csv | cmp - first.txt
tail -n +2 x.csv >bare.csv
predict bare.csv --no-header | cmp - first.txt
predict bare.csv --no-header --text 0 --label 1 | cmp - first.txt
predict x.csv --threads 1 | cmp - first.txt
predict x.csv --json | python3 -c '
import json, math, sys
for line in sys.stdin:
    o = json.loads(line)
    z = [math.exp(x - max(o["logits"])) for x in o["logits"]]
    if abs(max(z) / sum(z) - o["probability"]) > 1e-6 or o["label"] not in ("ham", "spam"):
        print(line)'

# A file of one class, or with the classes in another order, is measured by their names.
grep -e spam -e label x.csv >one.csv
fmpatch fish eval base/model.safetensors p.fmp one.csv --confusion |
    awk -F '\t' 'NF > 2 { print $1, $2 + $3 }'
(echo text,label && tail -n +2 x.csv | sort -t , -k 2 -r) >sorted.csv
fmpatch fish eval base/model.safetensors p.fmp sorted.csv --confusion | tail -n 2 >sorted.txt
fmpatch fish eval base/model.safetensors p.fmp x.csv --confusion | tail -n 2 | cmp - sorted.txt
printf 'text,label\na,ham\nb,eggs\n' >eggs.csv
t fmpatch fish eval base/model.safetensors p.fmp eggs.csv
t fmpatch fish train -q base/model.safetensors train.csv -k 100 --steps 1 --valid eggs.csv -o q.fmp
predict eggs.csv | wc -l

# Images without labels.
task mlp mlp
task images alone --no-labels
fmpatch fish init mlp/config.json mlp -f >name.txt
t fmpatch fish predict mlp/model.safetensors alone-images-idx3-ubyte >alone.txt
wc -l <alone.txt
t fmpatch fish eval mlp/model.safetensors alone-images-idx3-ubyte
