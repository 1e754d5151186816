# needs: fmpatch-fish
# A signal ends training and prediction as if it had not been caught, and leaves no patch.
task mlp base --size 28
task images train --size 28
fmpatch fish init base/config.json base -f >name.txt
"$FMPATCH" fish train -q base/model.safetensors train-images-idx3-ubyte -k 300 --steps 1000000 -o p.fmp \
    --log log.jsonl &
pid=$!
until [ -s log.jsonl ]; do
    sleep 0.02
done
kill -TERM $pid
wait $pid 2>wait.txt && s=0 || s=$?
echo "training = $s"
ls p.fmp* 2>ls.txt

# Prediction polls for no signal: it must not be caught.
echo '{"model_type": "mlp", "sizes": [784, 2048, 2048, 4]}' >config.json
fmpatch fish init config.json wide >name.txt
python3 -c '
import struct
with open("many-images-idx3-ubyte", "wb") as f:
    f.write(struct.pack(">BBBBIII", 0, 0, 8, 3, 60000, 28, 28))
    f.truncate(16 + 60000 * 784)'
"$FMPATCH" fish predict wide/model.safetensors many-images-idx3-ubyte >out.txt &
pid=$!
sleep 1
kill -TERM $pid
wait $pid 2>wait.txt && s=0 || s=$?
echo "predicting = $s"
wc -c <out.txt
