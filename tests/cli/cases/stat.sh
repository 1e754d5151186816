# stat: columns for programs, a bar for people, layers in the order of their numbers.
pair
fmpatch create -q base.safetensors tuned.safetensors -o p.fmp
fmpatch stat p.fmp | cut -f 1-6
fmpatch stat p.fmp --by-layer | cut -f 1-6
fmpatch stat p.fmp --names '*.layers.1.*' | cut -f 1-6
on-tty "$FMPATCH" stat p.fmp
on-tty --columns 50 "$FMPATCH" stat p.fmp
on-tty env TERM=xterm "$FMPATCH" stat p.fmp --by-layer
on-tty env TERM=xterm NO_COLOR=1 "$FMPATCH" stat p.fmp --by-layer
fmpatch stat p.fmp --json | python3 -c '
import json, sys
o = json.load(sys.stdin)
print(o["schema"], o["by"], o["tensors_changed"], [r["name"] for r in o["rows"]])
print(o["total"]["changed"] == sum(r["changed"] for r in o["rows"]))'
