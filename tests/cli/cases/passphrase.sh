# A key with a passphrase: right, wrong, missing, typed.
pair
fmpatch create -q base.safetensors tuned.safetensors -o p.fmp
echo 'correct horse' >right
echo 'battery staple' >wrong
fmpatch keygen -q -o k --format argon2id --passphrase-file right >made.txt
t fmpatch sign -q p.fmp -k k.key --passphrase-file right
t fmpatch sign -q p.fmp -k k.key --passphrase-fd 3 3<right
t fmpatch sign -q p.fmp -k k.key --passphrase-file wrong
t fmpatch sign -q p.fmp -k k.key
t on-tty --type 'correct horse\n' "$FMPATCH" sign -q p.fmp -k k.key
t fmpatch create -q -f base.safetensors tuned.safetensors -o p.fmp --sign k.key --passphrase-file right
t fmpatch verify -q p.fmp -p k.pub --json >verdict.json
grep trust verdict.json
