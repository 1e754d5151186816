# Status 1: a signature that is wrong is refused whatever the options say.
key alice
pair
fmpatch create -q base.safetensors tuned.safetensors -o p.fmp --sign alice.key --comment 'release 3'
python3 - <<'END'
data = open("p.fmp", "rb").read()
assert data.count(b"release 3") == 1
open("bad.fmp", "wb").write(data.replace(b"release 3", b"release 4"))
END
t fmpatch apply base.safetensors bad.fmp -o out
t fmpatch apply base.safetensors bad.fmp -o out --allow-unsigned
t fmpatch inspect bad.fmp
t fmpatch verify bad.fmp --json
ls
