#!/bin/sh
# Keys and signatures both ways between fmpatch and the stock minisign.
#
#   check_minisign.sh MINISIGN_TOOL
#
# MINISIGN_TOOL is minisign_tool.c, built.  Exits 77 (skipped) where minisign is not installed.  Four
# of the steps derive a key at minisign's default cost: 1 GiB and some seconds each.
set -eu

tool=$1
command -v minisign >/dev/null || exit 77
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
n=0

die() {
    echo "check_minisign: $*" >&2
    exit 1
}

# ok WHAT COMMAND...: the command succeeds.  Its input is ours.
ok() {
    what=$1
    shift
    "$@" >"$dir/out" 2>&1 || die "$what: $(cat "$dir/out")"
    n=$((n + 1))
}

# fails STATUS WORD COMMAND...: it ends with that status, and says the word.
fails() {
    want=$1
    word=$2
    shift 2
    got=0
    "$@" >"$dir/out" 2>&1 || got=$?
    [ "$got" = "$want" ] || die "status $got, expected $want: $*: $(cat "$dir/out")"
    grep -q "$word" "$dir/out" || die "no \"$word\" in: $(cat "$dir/out")"
    n=$((n + 1))
}

cd "$dir"
head -c 1000000 /dev/urandom >file
printf '' >empty

# Unencrypted keys: made by each, used by the other.
ok "minisign makes a key" minisign -G -W -p theirs.pub -s theirs.key </dev/null
chmod 600 theirs.key
ok "we make a key" "$tool" generate minisign ours.key ours.pub </dev/null
[ "$(stat -c %a ours.key)" = 600 ] || die "mode of ours.key"
"$tool" public theirs.key >public.txt
cmp public.txt theirs.pub || die "their public key as we write it"

for key in theirs ours; do
    for f in file empty; do
        ok "minisign signs" minisign -S -W -s $key.key -m $f -x $f.$key.by-minisign -t "c	d"
        ok "we sign" "$tool" sign $key.key $f $f.$key.by-us "base=12 target=34"
        ok "minisign verifies its own" minisign -V -H -p $key.pub -m $f -x $f.$key.by-minisign
        ok "minisign verifies ours" minisign -V -H -p $key.pub -m $f -x $f.$key.by-us
        grep -q "base=12 target=34" out || die "our comment is not shown"
        ok "we verify minisign's" "$tool" verify $key.pub $f $f.$key.by-minisign
        [ "$(cat out)" = "c	d" ] || die "their comment: $(cat out)"
        ok "we verify our own" "$tool" verify $key.pub $f $f.$key.by-us
    done
done
ok "we sign without a comment" "$tool" sign ours.key file plain ""
ok "minisign verifies it" minisign -V -H -p ours.pub -m file -x plain

# The default comment of minisign, and the key given on the command line.
ok "minisign signs" minisign -S -W -s theirs.key -m file -x default
ok "we verify" "$tool" verify theirs.pub file default
grep -q "^timestamp:[0-9]*	file:file	hashed$" out || die "default comment: $(cat out)"
ok "minisign takes our key's line" minisign -V -P "$(tail -1 ours.pub)" -m file -x file.ours.by-us

# What neither accepts, and what only we refuse.
fails 1 "expected key" "$tool" verify ours.pub file file.theirs.by-us
fails 1 "not the file" "$tool" verify ours.pub empty file.ours.by-minisign
fails 1 "" minisign -V -p ours.pub -m empty -x file.ours.by-us
sed 's/^trusted comment: base=12/trusted comment: base=13/' file.ours.by-us >forged
fails 1 "trusted comment" "$tool" verify ours.pub file forged
fails 1 "" minisign -V -p ours.pub -m file -x forged
ok "minisign signs the legacy way" minisign -S -l -W -s theirs.key -m file -x legacy
ok "minisign verifies that" minisign -V -p theirs.pub -m file -x legacy
fails 1 "legacy" "$tool" verify theirs.pub file legacy
head -3 plain >short
fails 3 "four lines" "$tool" verify ours.pub file short
fails 3 "public key" "$tool" verify plain file plain
fails 5 "none" "$tool" verify ours.pub file none
fails 2 "plain" "$tool" sign ours.key file plain ""
fails 2 "ours.key" "$tool" generate minisign ours.key new.pub
[ ! -e new.pub ] || die "new.pub was left"
chmod 644 ours.key
fails 1 "ours.key" "$tool" sign ours.key file new.sig ""
chmod 600 ours.key

# Passphrases: minisign's scrypt both ways, and our own Argon2id.
printf 'pass word\npass word\n' >twice
printf 'pass word\n' >once
printf 'pass ward\n' >wrong
ok "minisign makes an encrypted key" minisign -G -p enc.pub -s enc.key <twice
chmod 600 enc.key
ok "we read it" "$tool" sign enc.key file enc.sig "" <once
ok "minisign verifies" minisign -V -H -p enc.pub -m file -x enc.sig
ok "we make an encrypted key" "$tool" generate minisign enc2.key enc2.pub <once
ok "minisign reads it" minisign -S -s enc2.key -m file -x enc2.sig <once
ok "we verify" "$tool" verify enc2.pub file enc2.sig
ok "we make one of our own form" "$tool" generate argon2id own.key own.pub <once
ok "we read it" "$tool" sign own.key file own.sig "" <once
ok "minisign verifies" minisign -V -H -p own.pub -m file -x own.sig
fails 1 "wrong passphrase" "$tool" sign own.key file own2.sig "" <wrong
fails 1 "no passphrase" "$tool" sign own.key file own2.sig "" </dev/null
[ ! -e own2.sig ] || die "own2.sig was left"

echo "check_minisign: $n checks"
