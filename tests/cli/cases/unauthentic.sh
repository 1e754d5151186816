# Status 1: unsigned, unknown, revoked, too few, or wrong; and what is accepted nevertheless.
key alice
key bob
key mallory
pair
fmpatch create -q base.safetensors tuned.safetensors -o unsigned.fmp
fmpatch create -q base.safetensors tuned.safetensors -o signed.fmp --sign alice.key --comment 'release 3'
echo no keyring
t fmpatch apply base.safetensors unsigned.fmp -o 1
t fmpatch apply base.safetensors signed.fmp -o 2
t fmpatch apply base.safetensors unsigned.fmp -o 3 --require-signature
t fmpatch apply base.safetensors signed.fmp -o 3 --require-signature
echo keys given
t fmpatch apply base.safetensors signed.fmp -o 4 -p alice.pub
t fmpatch apply base.safetensors signed.fmp -o 5 -P "$(tail -n 1 alice.pub)"
t fmpatch apply base.safetensors signed.fmp -o 6 -p bob.pub
t fmpatch apply base.safetensors signed.fmp -o 6 -p alice.pub -p bob.pub --threshold 2
t fmpatch revert tuned.safetensors unsigned.fmp -o 6 -p alice.pub
echo keyring
fmpatch keyring add alice.pub >added.txt
t fmpatch verify signed.fmp
t fmpatch verify unsigned.fmp
t fmpatch verify unsigned.fmp --allow-unsigned
t fmpatch apply base.safetensors unsigned.fmp -o 6
t fmpatch apply base.safetensors unsigned.fmp -o 6 --allow-unsigned
t fmpatch verify signed.fmp -p bob.pub
t fmpatch verify signed.fmp --keyring "$HOME/.config/fmpatch" -p bob.pub
t fmpatch verify signed.fmp --keyring missing
echo revoked
fmpatch keyring revoke alice >revoked.txt
t fmpatch verify signed.fmp
t fmpatch verify signed.fmp -p alice.pub
t fmpatch verify signed.fmp --allow-unsigned
echo no home
t env -u HOME "$FMPATCH" verify signed.fmp
ls
