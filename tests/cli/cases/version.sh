# The version, its number alone, and what it is made of.
# mask: (jansson|libsmartcols) [0-9.]+ => \1 N
fmpatch --version
fmpatch -V
fmpatch -q --version
fmpatch --version --quiet
fmpatch -v --version
