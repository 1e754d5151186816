# A part of a patch: by name, all but a name, nothing.
# mask: [0-9,]+ bytes, => N bytes,
pair
fmpatch create -q base.safetensors tuned.safetensors -o task.fmp
fmpatch stat task.fmp | cut -f1,2
first=model.norm.weight
t fmpatch subset task.fmp --tensors "$first"
fmpatch stat task.subset.fmp | cut -f1-6
t fmpatch apply -q base.safetensors task.subset.fmp -o part.safetensors
t fmpatch subset -q task.fmp --except "$first" -o rest.fmp
fmpatch stat rest.fmp | cut -f1-6
t fmpatch subset task.fmp --tensors 'no.such.*' -o x.fmp
t fmpatch subset task.fmp --tensors '*' -o all.fmp
fmpatch apply -q base.safetensors all.fmp -o made.safetensors
same made.safetensors tuned.safetensors
ls
