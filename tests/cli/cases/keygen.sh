# Keys: names, modes, nothing replaced, passphrases from files and descriptors, minisign reads them.
# mask: \b[0-9A-F]{16}\b => KEYNUMBER
# mask: RW[A-Za-z0-9+/]{54} => PUBLICKEY
# mask: "key_id": "[0-9a-f]{64}" => "key_id": "ID"
t fmpatch keygen --no-passphrase
stat -c '%n %a' fmpatch.key fmpatch.pub
t fmpatch keygen --no-passphrase
rm fmpatch.key
t fmpatch keygen --no-passphrase
t fmpatch keygen -o b --format argon2id --no-passphrase
t fmpatch keygen -o b
echo 'correct horse' >pass
: >empty
t fmpatch keygen -o c --format argon2id --passphrase-file pass --json
t fmpatch keygen -o d --passphrase-fd 3 3<pass
t fmpatch keygen -o e --passphrase-file empty
t fmpatch keygen -o e --passphrase-file missing
t fmpatch keygen -o e --passphrase-fd 9
t fmpatch keygen -o missing/e -q --no-passphrase
t fmpatch keygen -o f -q --no-passphrase
ls
