# Every way of calling the program wrongly ends with 2 and one line.
t fmpatch
t fmpatch crate a b
t fmpatch frobnicate
t fmpatch 'bad
verb'
t fmpatch --frob
t fmpatch -q create a b
t fmpatch create a
t fmpatch create a b c
t fmpatch create --outptu=x a b
t fmpatch create -Z a b
t fmpatch create --force=yes a b
t fmpatch create --pass x a b
t fmpatch create a b -o
t fmpatch keygen extra
t fmpatch help frob
t fmpatch help stta
