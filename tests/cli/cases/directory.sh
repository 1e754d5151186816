# Directories: side files travel, default names, nothing is replaced.
# mask: [0-9,]+ bytes, [0-9.]+ times smaller, [0-9.]+ bytes per => N bytes, X times smaller, Y bytes per
# mask: file(s?), [0-9,]+ bytes => file\1, N bytes
mkdir base tuned-v1.5
checkpoint base/model.safetensors
checkpoint tuned-v1.5/model.safetensors --tuned
echo '{"a": 1}' >base/config.json
echo '{"a": 2}' >tuned-v1.5/config.json
t fmpatch create base tuned-v1.5/
mkdir out
cd out
t fmpatch apply ../base/ ../tuned-v1.5.fmp
same tuned-v1.5 ../tuned-v1.5
t fmpatch apply ../base/ ../tuned-v1.5.fmp
t fmpatch apply -f ../base/ ../tuned-v1.5.fmp
cd ../tuned-v1.5
t fmpatch create -q ../base . -o ../p.fmp
ls
