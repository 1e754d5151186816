#!/bin/sh
# page.sh PROGRAM SCDOC PAGE.scd PAGE: fills in @SYNOPSIS@, @OPTIONS@ and @VERSION@ from the program,
# then formats.  Fails when any step does: nothing is hidden by a pipe.
set -eu
program=$1 scdoc=$2 source=$3 page=$4
name=$(basename "$source" .scd)
verb=${name#fmpatch-}
verb=${verb%.*}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

case $name in
fmpatch-fish.*) # a program with verbs of its own: @OPTIONS VERB@
    for v in fisher train eval predict init; do
        "$program" help --man options "$v" >"$work/options-$v"
    done
    ;;
fmpatch-*)
    "$program" help --man synopsis "$verb" >"$work/synopsis"
    "$program" help --man options "$verb" >"$work/options"
    ;;
*)
    : >"$work/synopsis"
    : >"$work/options"
    ;;
esac
"$program" -q --version >"$work/version"
awk -v work="$work" '
    BEGIN { getline version <(work "/version") }
    $0 == "@SYNOPSIS@" { while ((getline line <(work "/synopsis")) > 0) print line; next }
    /^@OPTIONS [a-z]+@$/ {
        gsub(/@/, "")
        while ((getline line <(work "/options-" $2)) > 0) print line
        next
    }
    $0 == "@OPTIONS@" { while ((getline line <(work "/options")) > 0) print line; next }
    { gsub(/@VERSION@/, version); print }
' "$source" >"$work/page.scd"
# A page without a clock.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-0} "$scdoc" <"$work/page.scd" >"$page"
