# A chain of patches is laid over the base in order.
pair
checkpoint third.safetensors --tuned --extra
fmpatch create -q base.safetensors tuned.safetensors -o 1.fmp
fmpatch create -q tuned.safetensors third.safetensors -o 2.fmp
t fmpatch apply base.safetensors 1.fmp 2.fmp
cmp 2.safetensors third.safetensors
fmpatch apply base.safetensors 2.fmp 1.fmp -o out 2>message.txt && s=0 || s=$?
echo "= $s"
ls
