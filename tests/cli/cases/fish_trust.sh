# needs: fmpatch-fish
# mask: [0-9a-f]{16}\.\.\. => HEX...
# Only what somebody trusted has signed is laid over a model, where that is asked for.
key alice
key bob
task mlp base
task images train
fmpatch fish init base/config.json base -f >name.txt
fmpatch fish init base/config.json other --seed 1 >name.txt
data=train-images-idx3-ubyte
fmpatch fish train -q base/model.safetensors $data -k 200 --steps 3 -o p.fmp >name.txt
fmpatch fish train -q base/model.safetensors $data -k 200 --steps 3 -o s.fmp --sign alice.key >name.txt
for verb in eval predict; do
    t fmpatch fish $verb base/model.safetensors s.fmp $data -p alice.pub --require-signature | tail -n 1
    t fmpatch fish $verb base/model.safetensors s.fmp $data -p alice.pub -p bob.pub --threshold 2
    t fmpatch fish $verb base/model.safetensors s.fmp $data -p bob.pub
    t fmpatch fish $verb base/model.safetensors p.fmp $data -p alice.pub
    t fmpatch fish $verb base/model.safetensors p.fmp $data --require-signature
    t fmpatch fish $verb base/model.safetensors p.fmp $data | tail -n 1
    t fmpatch fish $verb other/model.safetensors p.fmp $data
    t fmpatch fish $verb other/model.safetensors p.fmp $data --json
done
python3 -c '
data = bytearray(open("s.fmp", "rb").read())
data[len(data) // 2] ^= 1
open("bad.fmp", "wb").write(data)'
fmpatch fish eval base/model.safetensors bad.fmp $data >bad.txt 2>&1 && s=0 || s=$?
[ $s -ne 0 ] && echo "altered: refused"
t fmpatch fish train -q base/model.safetensors $data -k 200 --steps 3 -o n.fmp --sign nobody.key
chmod 644 alice.key
t fmpatch fish train -q base/model.safetensors $data -k 200 --steps 3 -o n.fmp --sign alice.key
ls
