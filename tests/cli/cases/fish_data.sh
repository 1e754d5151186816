# needs: fmpatch-fish
# Data that are not what they should be: one line that names the place, and no output.
task bert bert
task mlp mlp
fmpatch fish init bert/config.json bert -f >name.txt
fmpatch fish init mlp/config.json mlp -f >name.txt
task texts good.csv
text() {
    printf "$1" >"$2"
    shift
    t fmpatch fish train -q bert/model.safetensors "$@" -k 200 --steps 1 -o out.fmp
}
text 'text,label\na,x\nb,y\n' columns.csv --label kind
text 'text,label\na,x\nb,y\n' columns.csv --text body
text 'words,length,kind\na,1,x\n' columns.csv
text 'text,label\na,x\nb\n' short.csv
text 'text,label\na,x\nb,y,z\n' long.csv
text 'text,label\na,x\nb,\n' empty_label.csv
text 'text,label\n"a,x\nb,y\n' quote.csv
text 'text,label\na,x\n' valid.csv --valid good.csv
text 'text,label\na,1\nb,two\n' number.csv --regression
text '{"text": "a", "label": "x"}\n{"text": "b", "label": }\n' bad.jsonl
text '{"text": "a", "label": "x"}\n[1]\n' array.jsonl
text '{"text": "a", "label": "x"}\n{"text": "b"}\n' key.jsonl
text '{"text": "a", "label": "x"}\n{"text": 1, "label": "y"}\n' type.jsonl
text '' empty.csv
text '' empty.jsonl
text 'text,label\n' header.csv
text 'text,label\na,x\nb,y\n' file.txt
text 'text,label\na,x\nb,y\n' file.csv --format xml
t fmpatch fish train -q bert/model.safetensors none.csv -k 200 -o out.fmp
rm bert/vocab.txt
t fmpatch fish train -q bert/model.safetensors good.csv -k 200 -o out.fmp

image() {
    t fmpatch fish train -q mlp/model.safetensors "$@" -k 200 --steps 1 -o out.fmp
}
task images small --size 4
image small-images-idx3-ubyte
task images train
image train-images-idx3-ubyte --valid small-images-idx3-ubyte
image train-images-idx3-ubyte --labels small-images-idx3-ubyte
task images few -n 5
image train-images-idx3-ubyte --labels few-labels-idx1-ubyte
cp train-images-idx3-ubyte pixels.idx
image pixels.idx
image good.csv
head -c 1000 train-images-idx3-ubyte >cut-images-idx3-ubyte
image cut-images-idx3-ubyte
: >none-images-idx3-ubyte
image none-images-idx3-ubyte
task images alone --no-labels
image alone-images-idx3-ubyte
printf '\223NUMPY\001\000\004\000{}\n\n' >odd-images.npy
image odd-images.npy
cp train-labels-idx1-ubyte train.idx
printf '\004' | dd of=train.idx bs=1 seek=8 conv=notrunc 2>dd.txt # a fifth class
image train-images-idx3-ubyte --labels train.idx
ls out.fmp* 2>ls.txt || :

# Another error for what is no model at all.
t fmpatch fish eval none.safetensors good.csv
t fmpatch fish eval good.csv good.csv
rm mlp/config.json
image train-images-idx3-ubyte
