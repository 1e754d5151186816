# The parts of manual pages that come from the tables.
fmpatch help --man synopsis keygen
fmpatch help --man options keygen
t fmpatch help --man=pages keygen
