# A patch in profile compact, and from one profile into the other; what needs an open patch says so.
# mask: [0-9,]+ bytes, => N bytes,
# mask: [0-9.]+ times => X times
# mask: ( smaller, )[0-9.]+ => \1X
# mask: [0-9,]+ before => N before
# mask: "(id|of|bytes|bytes_before)": [^,]*, => "\1": X,
pair
key alice
t fmpatch create base.safetensors tuned.safetensors --profile compact --sign alice.key -o c.fmp
fmpatch create -q base.safetensors tuned.safetensors -o o.fmp
t fmpatch apply base.safetensors c.fmp -o made.safetensors
same made.safetensors tuned.safetensors
t fmpatch verify c.fmp --base base.safetensors
t fmpatch inspect c.fmp --json | grep -o '"profile":"[a-z]*"\|"irreversible_because": *"[^"]*"'
t fmpatch recode base.safetensors c.fmp
t fmpatch recode base.safetensors c.open.fmp
same c.open.fmp o.fmp
fmpatch recode -q --json base.safetensors o.fmp -o r.fmp | tr ',' '\n' | sed 's/[": 0-9a-f]*$//' | head -3
fmpatch apply -q base.safetensors c.open.compact.fmp -f -o made.safetensors
same made.safetensors tuned.safetensors
t fmpatch recode tuned.safetensors o.fmp -o wrong.fmp
t fmpatch recode base.safetensors o.fmp -o o.fmp
t fmpatch revert tuned.safetensors c.fmp -o back.safetensors
t fmpatch squash c.fmp -o s.fmp
t fmpatch invert c.fmp
t fmpatch overlap c.fmp o.fmp
t fmpatch merge base.safetensors c.fmp o.fmp -o m.fmp
fmpatch stat c.fmp | cut -f1-6
t fmpatch create base.safetensors tuned.safetensors --profile compact --reversible -o x.fmp
t fmpatch create base.safetensors tuned.safetensors --profile dense -o x.fmp
ls
