#!/bin/sh
# Prints the version that fmpatch.h declares.
set -e
sed -n "s/^#define FMP_VERSION_[A-Z]* \([0-9]*\)$/\1/p" "$(dirname "$0")/fmpatch.h" | paste -sd.
