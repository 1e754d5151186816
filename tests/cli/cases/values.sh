# Values are parsed strictly.
t fmpatch create --level=0 a b
t fmpatch create --level=10 a b
t fmpatch create --level=3x a b
t fmpatch create --level=-3 a b
t fmpatch create --level= a b
t fmpatch create --level=99999999999999999999 a b
t fmpatch create '--threads= 1' a b
t fmpatch create --values=sett a b
t fmpatch create --width=12 a b
t fmpatch create --rename=OLD a b
t fmpatch create --rename==NEW a b
t fmpatch create --date=yesterday a b
t fmpatch create --date=2026-01-01T00:00:00 a b
t fmpatch create --comment=x a b
t fmpatch create --task="$(printf '\377')" a b
t env SOURCE_DATE_EPOCH=now "$FMPATCH" create a b
t fmpatch create --passphrase-file=x --passphrase-fd=3 a b
t fmpatch create --sign=missing.key a b
t fmpatch apply --threshold=0 a b
t fmpatch verify --require-signature --allow-unsigned a
t fmpatch verify -P notakey a
t fmpatch verify -p missing.pub a
t fmpatch keyring list --name x
