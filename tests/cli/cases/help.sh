# Help goes to standard output, within 80 columns, for every verb.
t fmpatch --help
for verb in create apply revert verify inspect stat sign keygen keyring completion help; do
    fmpatch $verb --help >$verb.txt
    fmpatch help $verb | cmp - $verb.txt
    awk -v verb=$verb 'length > 80 { print verb ": " $0 }' $verb.txt
done
fmpatch --help | awk 'length > 80'
cat keygen.txt create.txt
