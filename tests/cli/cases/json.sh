# Every --json is one object with its schema and nothing else on standard output.
key alice
pair
schema() {
    "$@" --json 2>message.txt | python3 -c '
import json, sys
o = json.load(sys.stdin)
print(o["schema"], " ".join(sorted(o)))'
}
schema fmpatch create base.safetensors tuned.safetensors -o p.fmp --sign alice.key
schema fmpatch apply base.safetensors p.fmp -o out
schema fmpatch revert tuned.safetensors p.fmp -o back
schema fmpatch verify p.fmp --base base.safetensors
schema fmpatch inspect p.fmp
schema fmpatch stat p.fmp --by-layer
schema fmpatch sign p.fmp --strip
schema fmpatch keygen -o k --no-passphrase
schema fmpatch keyring add alice.pub
schema fmpatch keyring list
schema fmpatch verify missing.fmp
