# The keyring: added, listed, revoked, removed; nothing outside its directories is touched.
key alice
key bob
key mallory
t fmpatch keyring path
t fmpatch keyring list
t fmpatch keyring add alice.pub
t fmpatch keyring add alice.pub
t fmpatch keyring add bob.pub --name alice
t fmpatch keyring add bob.pub
t fmpatch keyring list
t fmpatch keyring revoke mallory.pub
t fmpatch keyring revoke bob
t fmpatch keyring add bob.pub --name bobby
t fmpatch keyring list --json
t fmpatch keyring remove alice
t fmpatch keyring remove alice
t fmpatch keyring remove bob
t fmpatch keyring remove bob --revoked
t fmpatch keyring list
t fmpatch keyring add alice.pub --name ../alice
t fmpatch keyring add alice.pub --name .hidden
t fmpatch keyring add alice.pub --name ''
t fmpatch keyring add alice.key
t fmpatch keyring add missing.pub
t fmpatch keyring remove ../../alice
t fmpatch keyring lst
t fmpatch keyring add
t fmpatch keyring list alice
t env -u HOME "$FMPATCH" keyring list
t env XDG_CONFIG_HOME="$PWD/xdg" "$FMPATCH" keyring path
t env XDG_CONFIG_HOME=relative "$FMPATCH" keyring path
t env FMPATCH_KEYRING=ring "$FMPATCH" keyring add alice.pub
t fmpatch keyring list --keyring ring
(cd "$HOME" && find .config -printf '%p %m\n' | sort)
chmod 777 ring/trusted.d
t fmpatch keyring list --keyring ring
