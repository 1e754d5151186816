# --manifest, --task, --date and SOURCE_DATE_EPOCH end up in the manifest; without them there is no clock.
pair
show() {
    "$@" -q base.safetensors tuned.safetensors -f -o p.fmp >path.txt
    fmpatch inspect p.fmp --json | python3 -c '
import json, sys
m = json.load(sys.stdin)["manifest"]
print(m.get("task"), m.get("method"), m.get("date"))'
}
echo '{"method": {"name": "fish", "k": 1000}, "task": {"type": "qa"}}' >m.json
show fmpatch create
show fmpatch create --task hello
show fmpatch create --task hello --manifest m.json --date 2026-01-31T23:59:59Z
show env SOURCE_DATE_EPOCH=86400 "$FMPATCH" create
fmpatch create -q base.safetensors tuned.safetensors -f -o p.fmp
fmpatch create -q base.safetensors tuned.safetensors -f -o q.fmp --threads 3
cmp p.fmp q.fmp
t fmpatch create base.safetensors tuned.safetensors -f -o p.fmp --task x --manifest m.json --date 2026-1-1
echo '{"task": 7}' >m.json
t fmpatch create base.safetensors tuned.safetensors -f -o p.fmp --task x --manifest m.json
