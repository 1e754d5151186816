# On a terminal the passphrase is asked for twice and not shown.
# mask: \b[0-9A-F]{16}\b => KEYNUMBER
# mask: RW[A-Za-z0-9+/]{54} => PUBLICKEY
t on-tty --type 'secret\n' --type 'secret\n' "$FMPATCH" keygen -o a --format argon2id
t on-tty --type 'secret\n' --type 'other\n' "$FMPATCH" keygen -o b
t on-tty --type '\n' "$FMPATCH" keygen -o b
t on-tty --type '\003' "$FMPATCH" keygen -o b
ls
