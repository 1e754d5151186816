# apply --check and revert --check say whether it would work and write nothing.
pair
fmpatch create -q base.safetensors tuned.safetensors -o p.fmp
t fmpatch apply base.safetensors p.fmp --check
t fmpatch revert tuned.safetensors p.fmp --check
t fmpatch apply tuned.safetensors p.fmp --check -q 2>message.txt
ls
