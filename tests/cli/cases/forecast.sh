# A forecast: nothing is written, the sizes are those of the patches where all is looked at.
# mask: create [0-9.]+ s, apply [0-9.]+ s => create S, apply S
# mask: [0-9,]+ bytes, => N bytes,
pair
t fmpatch create base.safetensors tuned.safetensors --dry-run
t fmpatch create base.safetensors tuned.safetensors -n -o x.fmp --reversible
fmpatch create base.safetensors tuned.safetensors -n --json >said.json
fmpatch create -q base.safetensors tuned.safetensors -o open.fmp
fmpatch create -q base.safetensors tuned.safetensors --profile compact -o compact.fmp
python3 - <<'END'
import json, os
said = json.load(open("said.json"))
print(said["schema"], said["changed"], said["seen_bytes"] == said["target_bytes"], said["changed_error"])
for name in ("open", "compact"):
    size = os.path.getsize(name + ".fmp")
    print(name, "within 10 %" if abs(said[name]["bytes"] - size) < 0.1 * size else (said[name]["bytes"], size))
END
t fmpatch create base.safetensors base.safetensors -n
t fmpatch create base.safetensors missing.safetensors -n
ls
