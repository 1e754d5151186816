# needs: fmpatch-fish
# needs: fmpatch-mask
# Exactly what a mask selects may change, whatever else training does.
task bert base
task texts train.csv
fmpatch fish init base/config.json base -f
fmpatch fish fisher -q base/model.safetensors train.csv -o s.safetensors
train() {
    fmpatch fish train -q base/model.safetensors train.csv --epochs 3 --lr 0.01 -f "$@"
}
changed() { # PATCH: how many weights
    fmpatch inspect "$1" --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["changed"])'
}
for ratio in 0.01 0.05 0.123 0.5 1; do
    fmpatch mask -q s.safetensors --ratio $ratio -o $ratio.mask.fmp
    fmpatch mask show $ratio.mask.fmp --json >show.json
    train --mask $ratio.mask.fmp --weight-decay 0.1 -o $ratio.fmp
    train --scores s.safetensors --ratio $ratio --weight-decay 0.1 -o same.fmp
    python3 - $ratio "$(changed $ratio.fmp)" "$(changed same.fmp)" <<'END'
import json, sys
show, ratio = json.load(open("show.json")), float(sys.argv[1])
k = show["selected"]
print(ratio, show["elements"], k, k == int(show["elements"] * ratio), int(sys.argv[2]) <= k, sys.argv[2] == sys.argv[3])
END
done
train --full --weight-decay 0.1 -o full.fmp
fmpatch apply -q base/model.safetensors full.fmp -o full.safetensors
fmpatch apply -q base/model.safetensors 1.fmp -o all.safetensors
same full.safetensors all.safetensors

# What changed lies inside the mask.
for options in "" "--optimizer sgd --nesterov" "--clip 0.01" "--value-bits 3" "--ema 0.5" "--dense-gradient"; do
    train --mask 0.05.mask.fmp --weight-decay 0.1 $options -o p.fmp
    fmpatch apply -q base/model.safetensors p.fmp -o tuned.safetensors -f
    fmpatch mask -q --source delta --model base/model.safetensors --tuned tuned.safetensors \
        -k "$(changed p.fmp)" -o delta.fmp -f
    fmpatch mask subtract -q delta.fmp 0.05.mask.fmp -o rest.fmp -f
    fmpatch mask show rest.fmp | tail -n 1
done

# Rounded changes make a smaller patch, a refreshed mask may reach more weights and the published
# weight decay reaches nearly all.
train -k 600 -o p.fmp
train -k 600 --value-bits 3 -o rounded.fmp
[ "$(wc -c <rounded.fmp)" -lt "$(wc -c <p.fmp)" ] && echo "smaller"
train -k 600 --refresh 1 -o refreshed.fmp
t fmpatch verify -q refreshed.fmp --base base/model.safetensors
fmpatch inspect refreshed.fmp --json | python3 -c '
import json, sys
p = json.load(sys.stdin)
print(p["manifest"]["method"]["k"], p["changed"] <= 3 * 600)'
train -k 600 --refresh 1 --moments leak -o leaked.fmp
t fmpatch verify -q leaked.fmp --base base/model.safetensors
train -k 600 --weight-decay 0.1 --reference-leak -o leak.fmp
t fmpatch verify -q leak.fmp --base base/model.safetensors
[ "$(changed leak.fmp)" -gt 3000 ] && echo "more than the mask"
