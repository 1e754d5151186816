# Signing in place: payload and id stay; signed again, stripped, by two keys; minisign beside it.
key alice
key bob
pair
fmpatch create -q base.safetensors tuned.safetensors -o p.fmp
cp p.fmp original.fmp
fmpatch inspect p.fmp | grep '^id' >id.txt
t fmpatch sign p.fmp
t fmpatch sign p.fmp --key alice.key --comment one
t fmpatch sign p.fmp --key alice.key --comment two
t fmpatch inspect p.fmp | grep '^sign'
t fmpatch sign p.fmp -k bob.key -q --json
fmpatch inspect p.fmp | grep '^id' | cmp - id.txt
t fmpatch verify p.fmp -p alice.pub -p bob.pub --threshold 2
t fmpatch sign p.fmp --strip
cmp p.fmp original.fmp
t fmpatch sign p.fmp --strip -k alice.key
t fmpatch sign p.fmp --minisign -k alice.key
cmp p.fmp original.fmp
t fmpatch sign p.fmp --minisign -k alice.key
t fmpatch sign p.fmp --minisign -k alice.key -f -q -t 'a comment'
if command -v minisign >/dev/null; then
    minisign -Vq -p alice.pub -m p.fmp || echo minisign refuses
fi
t fmpatch verify p.fmp --minisig p.fmp.minisig
t fmpatch verify p.fmp --minisig p.fmp.minisig -p bob.pub
t fmpatch verify p.fmp --minisig p.fmp.minisig -p bob.pub -p alice.pub
t fmpatch verify p.fmp --minisig p.fmp.minisig -p alice.pub --require-signature
t env SOURCE_DATE_EPOCH=86400 "$FMPATCH" sign p.fmp --minisign -k alice.key -o s.minisig -q
grep -a '^trusted' s.minisig
chmod 644 alice.key
t fmpatch sign p.fmp -k alice.key
t fmpatch sign p.fmp -k alice.key --any-key-mode -q
t fmpatch sign p.fmp -k alice.pub
ls
