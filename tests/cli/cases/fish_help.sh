# needs: fmpatch-fish
# Help goes to standard output, within 80 columns, for every verb of fmpatch fish.
t fmpatch fish --help
for verb in init fisher train eval predict; do
    t fmpatch fish $verb --help
done >verbs.txt
cat verbs.txt
for verb in init fisher train eval predict; do
    fmpatch fish $verb --help >$verb.txt
    fmpatch fish help $verb | cmp - $verb.txt
done
fmpatch fish --help >fish.txt
fmpatch fish help | cmp - fish.txt
awk 'length > 80 || / $/ { print FILENAME ": " $0 }' fish.txt verbs.txt
fmpatch-fish --help | cmp - fish.txt
fmpatch fish --version >version.txt
fmpatch --version | cmp - version.txt
t fmpatch fish
t fmpatch fish trian
t fmpatch fish train --chekpoint c
