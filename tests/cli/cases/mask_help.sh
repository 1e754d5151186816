# Help goes to standard output, within 80 columns, for every verb of fmpatch mask.
# The program that `fmpatch mask` runs lies beside fmpatch, or in a directory of its own where both are
# built.
PATH="$(dirname "$FMPATCH"):$(dirname "$FMPATCH")/mask:$PATH"
t fmpatch mask help
for verb in union intersect subtract xor jaccard split show; do
    fmpatch mask $verb --help >$verb.txt
    fmpatch mask help $verb | cmp - $verb.txt
    awk -v verb=$verb 'length > 80 { print verb ": " $0 }' $verb.txt
done
fmpatch mask --help >mask.txt
fmpatch mask help mask | cmp - mask.txt
awk 'length > 80' mask.txt
cat mask.txt split.txt
t fmpatch mask -q --version
t fmpatch mask --verson
t fmpatch mask union --outpt c
