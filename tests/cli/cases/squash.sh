# A chain of patches becomes one, without a checkpoint; what does not follow is refused.
# mask: [0-9,]+ bytes, => N bytes,
# mask: "(id|bytes)": [^,]*, => "\1": X,
pair
checkpoint third.safetensors --tuned --extra
key alice
fmpatch create -q base.safetensors tuned.safetensors -o 1.fmp --sign alice.key --any-key-mode
fmpatch create -q tuned.safetensors third.safetensors -o 2.fmp
t fmpatch squash 1.fmp 2.fmp
fmpatch apply -q base.safetensors 2.squash.fmp -o made.safetensors
same made.safetensors third.safetensors
fmpatch squash --json 1.fmp 2.fmp -o both.fmp | grep -v '^  "'
same both.fmp 2.squash.fmp
t fmpatch squash 2.fmp 1.fmp -o wrong.fmp
t fmpatch squash 1.fmp 2.fmp -o both.fmp
t fmpatch squash 1.fmp 2.fmp -f -o 1.fmp
t fmpatch squash 1.fmp 2.fmp -P RWQAAAAA -o x.fmp
fmpatch inspect --json both.fmp | grep -o '"operation":"[a-z]*"\|"signers":\[[^]]*\]'
# Back again cancels: nothing is left.
fmpatch invert -q 1.fmp
fmpatch squash 1.fmp 1.inverse.fmp -o nothing.fmp
fmpatch stat nothing.fmp | cut -f1-6
ls
