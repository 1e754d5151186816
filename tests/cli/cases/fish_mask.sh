# needs: fmpatch-fish
# needs: fmpatch-mask
# mask: [0-9]+ of the selected weights have => N of the selected weights have
# Exactly what a mask selects may change, whatever else training does.
task bert base
task texts train.csv
fmpatch fish init base/config.json base -f >name.txt
fmpatch fish fisher -q base/model.safetensors train.csv -o s.safetensors >name.txt
train() {
    fmpatch fish train -q base/model.safetensors train.csv --epochs 3 --lr 0.01 -f "$@" >name.txt
}
changed() { # PATCH: how many weights
    fmpatch inspect "$1" --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["changed"])'
}
for ratio in 0.01 0.05 0.123 0.5 1; do
    fmpatch mask -q s.safetensors --ratio $ratio -o $ratio.mask.fmp >name.txt
    fmpatch mask show $ratio.mask.fmp --json >show.json
    train --mask $ratio.mask.fmp --weight-decay 0.1 -o $ratio.fmp
    train --scores s.safetensors --ratio $ratio --weight-decay 0.1 -o same.fmp
    python3 - $ratio "$(changed $ratio.fmp)" "$(changed same.fmp)" <<'END'
import json, sys
show = json.load(open("show.json"))
ratio, changed, same = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
elements, k = show["elements"], show["selected"]
print(ratio, elements, k, k == int(elements * ratio), changed <= k, changed == same)
END
done
train --full --weight-decay 0.1 -o full.fmp
fmpatch apply -q base/model.safetensors full.fmp -o full.safetensors >name.txt
fmpatch apply -q base/model.safetensors 1.fmp -o all.safetensors >name.txt
same full.safetensors all.safetensors

# The same share of each tensor: chosen in one go, or by a mask.
fmpatch mask -q s.safetensors --ratio 0.05 --scope tensor -o tensor.mask.fmp >name.txt
train --mask tensor.mask.fmp -o tensor.fmp
train --scores s.safetensors --ratio 0.05 --scope tensor -o scope.fmp
fmpatch apply -q base/model.safetensors tensor.fmp -o tensor.safetensors >name.txt
fmpatch apply -q base/model.safetensors scope.fmp -o scope.safetensors >name.txt
same tensor.safetensors scope.safetensors
train --scores s.safetensors --ratio 0.05 -o global.fmp
fmpatch apply -q base/model.safetensors global.fmp -o global.safetensors >name.txt
cmp -s tensor.safetensors global.safetensors || echo "not what the best of all give"
fmpatch inspect scope.fmp --json | python3 -c '
import json, sys
print(json.load(sys.stdin)["manifest"]["method"]["scope"])'

# What changed lies inside the mask.
for options in "" "--optimizer sgd --nesterov" "--clip 0.01" "--value-bits 3" "--ema 0.5" \
    "--dense-gradient"; do
    train --mask 0.05.mask.fmp --weight-decay 0.1 $options -o p.fmp
    fmpatch apply -q base/model.safetensors p.fmp -o tuned.safetensors -f >name.txt
    fmpatch mask -q --source delta --model base/model.safetensors --tuned tuned.safetensors \
        -k "$(changed p.fmp)" -o delta.fmp -f >name.txt
    fmpatch mask subtract -q delta.fmp 0.05.mask.fmp -o rest.fmp -f >name.txt
    fmpatch mask show rest.fmp | tail -n 1
done

# A refreshed mask may reach more weights, and the published weight decay reaches nearly all.
train -k 600 --refresh 1 -o refreshed.fmp
t fmpatch verify refreshed.fmp --base base/model.safetensors
fmpatch inspect refreshed.fmp --json | python3 -c '
import json, sys
p = json.load(sys.stdin)
print(p["manifest"]["method"]["k"], p["changed"] <= 3 * 600)'
train -k 600 --refresh 1 --moments leak -o leaked.fmp
t fmpatch verify leaked.fmp --base base/model.safetensors
train -k 600 --weight-decay 0.1 --reference-leak -o leak.fmp
t fmpatch verify leak.fmp --base base/model.safetensors
[ "$(changed leak.fmp)" -gt 3000 ] && echo "more than the mask"

# Rounded changes make a smaller patch.
task mlp mlp --size 28
task images train --size 28
fmpatch fish init mlp/config.json mlp -f >name.txt
large() { # OPTION...
    fmpatch fish train -q mlp/model.safetensors train-images-idx3-ubyte -k 5000 --epochs 3 --lr 0.01 \
        "$@" >name.txt
}
large -o large.fmp
for bits in 3 1; do
    large --value-bits $bits -o large-$bits.fmp
    t fmpatch verify large-$bits.fmp --base mlp/model.safetensors
done
ls -S large*.fmp
