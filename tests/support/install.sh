# shellcheck shell=bash disable=SC2034
# Installs what a Debian machine lacks, by package name.  Sourced by tests/run, samples/quickstart and
# bench/run; knows nothing of what the packages are for.

# What it takes to build the program, and no more.
build_packages="gcc libc6-dev meson ninja-build pkg-config libzstd-dev libsodium-dev libjansson-dev
    libxxhash-dev libsmartcols-dev libssl-dev libopenblas-dev zlib1g-dev ca-certificates"
# What the tests take besides: a second compiler with sanitizers, and the tools we compare with.
test_packages="$build_packages clang clang-format libclang-rt-14-dev libcmocka-dev scdoc minisign
    zstd binutils python3 python3-venv git bsdextrautils"
# What opens the pages that the program writes: a browser, and a font for it.
browser_packages="chromium fonts-dejavu-core"

# Runs a command as root: as we are, or through sudo.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "need root, or sudo, to run: $*" >&2
        return 1
    fi
}

# Prints those of the named packages that are not installed.
missing_packages() {
    local name
    for name in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || echo "$name"
    done
}

# need_packages NAME...: installs those that are missing.
need_packages() {
    local missing=()
    if ! command -v apt-get >/dev/null; then
        echo "no apt-get here; going on without checking for: $*" >&2
        return 0
    fi
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "installing: ${missing[*]}" >&2
    as_root apt-get update -qq &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            "${missing[@]}" >/dev/null
}

# need_venv DIR REQUIREMENT...: a Python environment at DIR that holds just these.
need_venv() {
    local dir=$1
    shift
    [ "$(cat "$dir/requirements" 2>/dev/null)" = "$*" ] && return 0
    rm -rf "$dir"
    python3 -m venv "$dir" &&
        "$dir/bin/python" -m pip install -q --disable-pip-version-check "$@" &&
        echo "$*" >"$dir/requirements"
}
