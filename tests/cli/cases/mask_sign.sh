# mask: [0-9,]+ bytes => N bytes
# A mask is a patch: it is signed and verified as one.
# The program that `fmpatch mask` runs lies beside fmpatch, or in a directory of its own where both are
# built.
PATH="$(dirname "$FMPATCH"):$(dirname "$FMPATCH")/mask:$PATH"
key alice
scores s.safetensors
t fmpatch mask s.safetensors -k 50 -o m.fmp --sign alice.key
t fmpatch verify m.fmp -p alice.pub
t fmpatch mask union m.fmp m.fmp -o u.fmp --sign alice.key
t fmpatch verify u.fmp -p alice.pub
t fmpatch mask s.safetensors -k 50 -o n.fmp --sign nobody.key
chmod 644 alice.key
t fmpatch mask s.safetensors -k 50 -o n.fmp --sign alice.key
fmpatch stat m.fmp | cut -f 1-3
