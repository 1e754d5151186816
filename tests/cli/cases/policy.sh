# verify --policy: kept and broken, as text and as JSON; with a base and without; refused policies.
pair
fmpatch create -q base.safetensors tuned.safetensors -o p.fmp
rule() {
    echo "{\"fmpatch_policy\": 1, $1}" >policy.json
    shift
    t fmpatch verify p.fmp --policy policy.json "$@"
}
rule '"kinds": ["task"], "tensors": {"may_change": ["model.layers.*", "model.norm.*"], "no_added": true}'
rule '"tensors": {"must_not_change": ["*norm*"], "must_change": ["*embed*"]}'
rule '"limits": [{"max_residual": 2}, {"per": "layer", "max_changed_share": 0.07}]'
rule '"limits": [{"max_residual": 1, "tensors": "*norm*"}, {"per": "layer", "max_changed_share": 0.06}]'
rule '"tensors": {"no_new_nan_or_inf": true}, "limits": [{"max_relative_l2": 1}]'
rule '"tensors": {"no_new_nan_or_inf": true}, "limits": [{"max_relative_l2": 1}]' --base base.safetensors
rule '"max_bytes": 10' --json | sed 1,7d
rule '"signatures": {"keys": ["RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"]}'
rule '"max_bites": 10'
rule '"tensors": {"must_not_change": ["*nrom*"]}'
rule '"max_bytes": 10' --base tuned.safetensors
t fmpatch verify p.fmp --policy nosuch.json
t fmpatch verify p.fmp --sarif s.json
t fmpatch verify
ls
# The real patch of the samples.
cp "$CLI/../../samples/rl10.fmp" real.fmp
echo '{"fmpatch_policy": 1, "kinds": ["task"], "max_bytes": 500000,
 "signatures": {"keys": ["'"$(sed 1d "$CLI/../../samples/rl10.pub")"'"]},
 "tensors": {"no_added": true, "no_removed": true, "no_renamed": true, "same_dtypes_and_shapes": true},
 "limits": [{"max_changed_share": 0.0176}, {"per": "layer", "max_changed_share": 0.05},
            {"tensors": "encoder.layer.[0-3].*.dense.bias", "max_residual": 100}]}' >real.json
t fmpatch verify real.fmp --policy real.json
sed -i 's/0.0176/0.0175/; s/encoder.*bias/*LayerNorm*/; s/100}/17000}/' real.json
t fmpatch verify real.fmp --policy real.json
