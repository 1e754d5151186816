# Patches of one base become one: plan, merge, recipe, and what is refused.
# mask: [0-9,]+ bytes => N bytes
pair
checkpoint third.safetensors --tuned --extra
checkpoint half.safetensors --tuned
fmpatch create -q base.safetensors tuned.safetensors -o 1.fmp
fmpatch create -q base.safetensors third.safetensors -o 2.fmp
t fmpatch merge base.safetensors 1.fmp 2.fmp
t fmpatch merge base.safetensors 1.fmp 2.fmp --added skip --plan
t fmpatch merge base.safetensors 1.fmp 2.fmp --added skip
fmpatch apply -q base.safetensors merged.fmp -o made.safetensors
same made.safetensors tuned.safetensors
t fmpatch merge -q base.safetensors 1.fmp 2.fmp --added 2 --method task-arithmetic --lambda=-0.5 --weights 1,1 -o minus.fmp
fmpatch inspect --json minus.fmp | grep -o '"recipe":{[^}]*}'
t fmpatch merge -q base.safetensors 1.fmp 2.fmp --recipe minus.fmp -o again.fmp
same minus.fmp again.fmp
echo '{"method": "ram", "weights": ["1", "1"], "added": "skip"}' >recipe.json
t fmpatch merge base.safetensors 1.fmp 2.fmp --recipe recipe.json -o ram.fmp
echo '{"methd": "ram"}' >wrong.json
t fmpatch merge base.safetensors 1.fmp 2.fmp --recipe wrong.json -o x.fmp
t fmpatch merge base.safetensors 1.fmp 2.fmp --recipe 1.fmp -o x.fmp
t fmpatch merge tuned.safetensors 1.fmp 1.fmp -o x.fmp
t fmpatch merge base.safetensors 1.fmp --method tie -o x.fmp
t fmpatch merge base.safetensors 1.fmp 2.fmp --weights 1 -o x.fmp
t fmpatch merge base.safetensors 1.fmp 2.fmp --density 1.5 --method ties -o x.fmp
t fmpatch merge base.safetensors 1.fmp --method fisher -o x.fmp
t fmpatch merge base.safetensors 1.fmp --method slerp -o x.fmp
t fmpatch merge base.safetensors 1.fmp 2.fmp --added 3 -o x.fmp
ls
