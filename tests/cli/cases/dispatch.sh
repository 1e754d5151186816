# A verb that is none of ours is a program on PATH; its exit status is ours.
mkdir bin
printf '#!/bin/sh\necho "hello $# $1"; exit 42\n' >bin/fmpatch-hello
chmod +x bin/fmpatch-hello
t env PATH="$PWD/bin:$PATH" "$FMPATCH" hello --help 'a b'
t env PATH="$PWD/bin:$PATH" "$FMPATCH" hell
t fmpatch ../bin/fmpatch-hello
t fmpatch ''
