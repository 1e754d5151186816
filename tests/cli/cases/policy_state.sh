# Lineages: marks go up, only when everything has passed; expiry; reset; records that others may touch.
# mask: [0-9a-f]{64} => ID
pair
version() {
    echo '{"lineage": {"id": "demo/../x", "sequence": '"$1$2"'}}' >m.json
    fmpatch create -q base.safetensors tuned.safetensors -f -o "v$1.fmp" --manifest m.json >/dev/null
}
version 1
version 2 ', "not_after": "2026-03-01T00:00:00Z"'
version 3
version 4294967300
echo '{"fmpatch_policy": 1, "lineage": {"ids": ["demo/../x"]}}' >policy.json
echo '{"fmpatch_policy": 1, "lineage": {}, "kinds": ["step"]}' >strict.json
judge() {
    t fmpatch verify "$1" --policy "${2-policy.json}" 2>&1 | grep -v 'digest and frame\|: unsigned'
}
judge v3.fmp strict.json
find "$HOME" -type f
SOURCE_DATE_EPOCH=1700000000
export SOURCE_DATE_EPOCH
judge v2.fmp
judge v1.fmp
judge v2.fmp
judge v3.fmp
judge v4294967300.fmp
cat "$HOME/.local/state/fmpatch/lineages.json"
stat -c '%a %n' "$HOME"/.local/state/fmpatch "$HOME"/.local/state/fmpatch/*
t fmpatch verify --reset-lineage 'demo/../x'
t fmpatch verify --reset-lineage 'demo/../x' --json
unset SOURCE_DATE_EPOCH
mkdir state
t fmpatch verify v2.fmp --policy policy.json --state state/s.json --now 2026-03-01T00:00:01Z
t fmpatch verify v2.fmp --policy policy.json --state state/s.json --now 2026-03-01T00:00:00Z
t fmpatch verify v2.fmp --policy policy.json --state state/s.json --now tomorrow
chmod 666 state/s.json
t fmpatch verify v2.fmp --policy policy.json --state state/s.json --now 2026-02-01T00:00:00Z
chmod 600 state/s.json
mv state/s.json state/t.json
ln -s t.json state/s.json
t fmpatch verify v3.fmp --policy policy.json --state state/s.json
t fmpatch verify v3.fmp --policy policy.json --state state/t.json
t fmpatch verify v3.fmp --policy policy.json --state nosuch/t.json
t env -u HOME "$FMPATCH" verify v3.fmp --policy policy.json
t env XDG_STATE_HOME="$PWD/xdg" "$FMPATCH" verify v3.fmp --policy policy.json
find xdg -type f
t fmpatch verify v3.fmp --reset-lineage x
t fmpatch verify v3.fmp --now 2026-02-01T00:00:00Z
