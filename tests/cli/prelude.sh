# What every case begins with.

# The program under test.
fmpatch() {
    "$FMPATCH" "$@"
}

# t COMMAND...: runs it; "= N" on standard output is its exit status.
t() {
    "$@" && s=0 || s=$?
    echo "= $s"
}

# A secret key and its public key, from the test keys, with the mode that is asked of a secret.
key() {
    install -m 600 "$CLI/keys/$1.key" "$1.key"
    install -m 644 "$CLI/keys/$1.pub" "$1.pub"
}

# base.safetensors and tuned.safetensors, in which some weights differ.
pair() {
    checkpoint base.safetensors
    checkpoint tuned.safetensors --tuned
}

# same A B: says whether two files or directories are equal.
same() {
    diff -r "$1" "$2" >diff.txt && echo "$1 = $2" || echo "$1 differs from $2"
    rm -f diff.txt
}
