# A fine-tune with planted edits: docs/policy.md tells of it.
mkdir base good bad
checkpoint base/model.safetensors --head
checkpoint good/model.safetensors --head --tuned
echo '{}' | tee base/tokenizer_config.json >good/tokenizer_config.json
echo 'about the base' >base/README.md
echo 'about the task' >good/README.md
cp good/* bad
poison bad
fmpatch create -q base good -o good.fmp
fmpatch create -q base bad -o bad.fmp
cat >policy.json <<'EOF'
{"fmpatch_policy": 1,
 "tensors": {"must_not_change": ["*embed*"], "no_new_nan_or_inf": true,
             "no_added": true, "same_dtypes_and_shapes": true},
 "limits": [{"max_changed_share": 0.06}, {"max_residual": 64}, {"per": "layer", "max_relative_l2": 0.01}],
 "files": {"may_change": ["README.md"]}}
EOF
t fmpatch verify good.fmp --base base --policy policy.json
t fmpatch verify bad.fmp --base base --policy policy.json
t fmpatch verify bad.fmp --policy policy.json
t fmpatch verify bad.fmp --policy policy.json --base base --sarif bad.sarif >/dev/null
python3 - <<'EOF'
import json
run = json.load(open("bad.sarif"))["runs"][0]
rules = [r["id"] for r in run["tool"]["driver"]["rules"]]
print(len(rules), run["invocations"])
for r in run["results"]:
    assert rules[r["ruleIndex"]] == r["ruleId"] and r["level"] == "error"
    place = r["locations"][0]
    names = [x["fullyQualifiedName"] for x in place.get("logicalLocations", [])]
    print(r["ruleId"], place["physicalLocation"]["artifactLocation"]["uri"], *names)
EOF
