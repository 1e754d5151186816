# Status 3: malformed patches and checkpoints.
# mask: \(at byte [0-9]+\) => (at byte N)
pair
fmpatch create -q base.safetensors tuned.safetensors -o p.fmp
printf 'not a patch' >text.fmp
: >empty.fmp
head -c 100 p.fmp >short.fmp
for p in text.fmp empty.fmp short.fmp base.safetensors; do
    fmpatch verify $p 2>message.txt && s=0 || s=$?
    echo "$p = $s, $(grep -c "^fmpatch: $p: " message.txt) line"
done
fmpatch verify - <text.fmp 2>message.txt && s=0 || s=$?
echo "- = $s, $(grep -c "^fmpatch: standard input: " message.txt) line"
python3 - <<'END'
data = bytearray(open("p.fmp", "rb").read())
data[-1] ^= 1
open("flipped.fmp", "wb").write(data)
END
fmpatch verify flipped.fmp 2>message.txt && s=0 || s=$?
echo "flipped.fmp = $s"
fmpatch apply base.safetensors flipped.fmp -o out 2>message.txt && s=0 || s=$?
echo "apply flipped.fmp = $s"
head -c 20 base.safetensors >cut.safetensors
fmpatch create cut.safetensors tuned.safetensors -o q.fmp 2>message.txt && s=0 || s=$?
echo "cut.safetensors = $s"
echo '[1]' >list.json
echo '{"a": 1, "a": 2}' >twice.json
t fmpatch create base.safetensors tuned.safetensors -o q.fmp --manifest list.json
fmpatch create base.safetensors tuned.safetensors -o q.fmp --manifest twice.json 2>message.txt && s=0 || s=$?
echo "twice.json = $s"
ls
