# Weights coded in units or in an order that are not their dtype's: small steps of bytes, large ones of
# values.  Without the base no limit on steps takes such a patch.
cat >craft.py <<'EOF'
import os, struct, sys
sys.path.insert(0, os.environ["CLI"] + "/../golden")
import patchfile as pf
N = 64
base = struct.pack("<%dH" % N, *[0x8000] * N)
target = bytearray(base)
target[11] = 0x7f  # 0x8000 becomes 0x7f00: -0 becomes 1.7e38, and the high byte goes down by one
target = bytes(target)
row = pf.Row(b"w", pf.RESIDUAL, 0, 0)
for side, data in (("base", base), ("target", target)):
    open(side + ".safetensors", "wb").write(pf.safetensors([("w", "BF16", [N], data)]))
size = os.path.getsize("base.safetensors")
files = [[pf.File(s + b".safetensors", size, size - 2 * N, 1)] for s in (b"base", b"target")]
for name, options in (("bytes", dict(pos=pf.GAPS, log2=0)), ("order", dict(pos=pf.GAPS, log2=1)),
                      ("right", dict(pos=pf.GAPS, log2=1, sm=True))):
    block = pf.Block(**options).code(base, target)
    patch = pf.Patch([(b"BF16", 16, [N])], [row], {b"w": base}, {b"w": target}, [pf.Frame([block])],
                     pf.Layout(files[1], [0], files[0], [0]))
    open(name + ".fmp", "wb").write(patch.bytes())
EOF
python3 craft.py
echo '{"fmpatch_policy": 1, "limits": [{"max_residual": 300}]}' >policy.json
for p in bytes order right; do
    fmpatch apply -q base.safetensors $p.fmp -o out.safetensors -f
    cmp out.safetensors target.safetensors
    t fmpatch verify $p.fmp --policy policy.json
    t fmpatch verify $p.fmp --policy policy.json --base base.safetensors
done
