# A page of what a patch is: whole, with what was asked for, and never over what is there already.
pair
key alice
t fmpatch create -q base.safetensors tuned.safetensors -o p.fmp --sign alice.key --comment 'first & last'
t fmpatch inspect p.fmp --html p.html
page p.html '162 of 4,641' 'not in the keyring' 'first & last' '--base'
t fmpatch inspect p.fmp --html p.html
t fmpatch inspect p.fmp --html p.html -f --base base.safetensors --threads 3
page p.html '--base' 'dense XOR' 'relative L2'
fmpatch inspect - --html - --base base.safetensors <p.fmp >q.html
page q.html 'Patch standard input' | tail -n 1
cp p.html q.html
fmpatch inspect p.fmp --html q.html -f --base base.safetensors --threads 1
same p.html q.html
t fmpatch inspect p.fmp --html q.html --json -f | python3 -c '
import json, sys
text = sys.stdin.read()
o = json.loads(text[:text.rindex("}") + 1])
print(o["schema"], o["html"], text[text.rindex("}") + 1:].strip())'

echo '--- who signed it'
mkdir -p ring/trusted.d ring/revoked.d
t fmpatch keyring add --keyring ring alice.pub
t fmpatch inspect p.fmp --html q.html -f --keyring ring
page q.html 'signed, signer trusted' | tail -n 1
t fmpatch keyring revoke --keyring ring alice
t fmpatch inspect p.fmp --html q.html -f --keyring ring
page q.html 'signed by a revoked key' | tail -n 1

echo '--- refused, and nothing is left'
rm *.html
t fmpatch inspect p.fmp --html p.fmp -f
t fmpatch inspect p.fmp --html base.safetensors -f --base base.safetensors
t fmpatch inspect p.fmp --html none/p.html
t fmpatch inspect p.fmp --base base.safetensors
t fmpatch inspect p.fmp --html p.html --tensors
t fmpatch inspect p.fmp --html p.html --keyring none
t fmpatch inspect p.fmp --html - --json
checkpoint other.safetensors --other
t fmpatch inspect p.fmp --html p.html --base p.fmp
checkpoint more.safetensors --extra
t fmpatch inspect p.fmp --html p.html --base more.safetensors
ls
