# A page of what patches share: what the text says, as pictures and tables.
checkpoint base.safetensors
checkpoint tuned.safetensors --tuned
fmpatch create -q base.safetensors tuned.safetensors -o "<b>&'one'.fmp"
fmpatch create -q base.safetensors tuned.safetensors -o two.fmp --values set
fmpatch create -q base.safetensors base.safetensors -o nothing.fmp
t fmpatch overlap "<b>&'one'.fmp" two.fmp --html p.html
page p.html "1 <b>&'one'.fmp" '162 elements are changed by at least one patch, 162 of them (100%)' 'patches 1, 2'
t fmpatch overlap "<b>&'one'.fmp" two.fmp nothing.fmp two.fmp --html p.html -f --threads 1
page p.html '4 two.fmp' 'Combinations' 'exactly the patches'
fmpatch overlap "<b>&'one'.fmp" two.fmp nothing.fmp two.fmp --html - --threads 3 >q.html
same p.html q.html
fmpatch overlap nothing.fmp --html - >q.html
page q.html 'No patch changes an element.' 'There is but one patch.' | tail -n 2
fmpatch overlap two.fmp nothing.fmp --html q.html -f --json | python3 -c '
import json, sys
o = json.load(sys.stdin)
print(o["schema"], o["html"], o["pairs"][0]["shared"])'
echo '--- refused'
rm p.html q.html
t fmpatch overlap two.fmp nothing.fmp --html two.fmp -f
t fmpatch overlap two.fmp nothing.fmp --html base.safetensors
t fmpatch overlap two.fmp nothing.fmp --html p.html --by set
t fmpatch overlap two.fmp nothing.fmp --html - --json
t fmpatch overlap two.fmp nothing.fmp -f
ls
