# The generated completions parse, know every verb, and bash's completes.
t fmpatch completion tcsh
fmpatch completion bash >c.bash
fmpatch completion zsh >c.zsh
fmpatch completion fish >c.fish
bash -n c.bash
for shell in zsh fish; do
    if command -v $shell >/dev/null; then
        $shell -n c.$shell
    fi
done
for verb in create apply revert verify inspect stat sign keygen keyring completion help; do
    for shell in bash zsh fish; do
        grep -q "$verb" c.$shell || echo "$shell does not know $verb"
    done
done
touch base.safetensors 'a file.fmp'
mkdir -p dir
cat >try.bash <<'END'
. ./c.bash
compopt() { :; }
try() {
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    _fmpatch
    echo "$*: $(printf '[%s]' "${COMPREPLY[@]}")"
}
try fmpatch cr
try fmpatch ""
try fmpatch create --rev
try fmpatch create --values ""
try fmpatch create --values = s
try fmpatch create ba
try fmpatch inspect "a f"
try fmpatch keyring re
try fmpatch keyring add ba
try fmpatch completion f
try fmpatch verify --keyring d
try fmpatch create --comment x
try fmpatch keygen ba
END
bash try.bash
grep -F -e "-l values" -e "-l keyring " c.fish | head -n 2
grep -F -e "--values=" -e "'*-P+" c.zsh | head -n 2
