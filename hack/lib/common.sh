# Shared by the scripts in hack/. Source it; it changes to the root of the repository.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}

# What rustdoc is to find in our documentation.
doc_flags="-D warnings -A rustdoc::private_intra_doc_links"

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Prints the comment block at the top of the calling script.
usage() { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"; }

# need COMMAND PACKAGE: installs the Debian package if the command is not on PATH.
missing_packages=()
package_lists=
need() {
    command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || missing_packages+=("$2")
}

install_missing() {
    [ "${#missing_packages[@]}" -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "missing: ${missing_packages[*]}. Install them with your package manager and run this again."
    [ "$(id -u)" = 0 ] || die "missing: ${missing_packages[*]}. Run: sudo apt-get install ${missing_packages[*]}"
    say "installing ${missing_packages[*]}"
    [ -n "$package_lists" ] || apt-get update -qq
    package_lists=fresh
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing_packages[@]}" >/dev/null
    missing_packages=()
}

# What a node needs to run containers.
need_node_packages() {
    need containerd containerd
    need runc runc
    need nft nftables
    need ip iproute2
    need conntrack conntrack
    need gcc gcc
    need make make
    # A compiler alone cannot link.
    [ -e /usr/include/stdlib.h ] || missing_packages+=(libc6-dev)
    install_missing
}

# What scenarios call besides; of procps it is kill, which the shell has too, so ps is looked for.
need_scenario_packages() {
    need curl curl
    need script bsdutils
    need ps procps
    install_missing
}

need_rust() {
    command -v cargo >/dev/null 2>&1 || die "cargo is not on PATH. Install Rust 1.95 or newer: https://rustup.rs"
}

# A Python environment in build/python, for clients that come as Python packages.
need_python() {
    need python3 python3-venv
    install_missing
    [ -x build/python/bin/pip ] && return 0
    python3 -m venv build/python 2>/dev/null && return 0
    # Debian has the module in a package of its own.
    missing_packages=(python3-venv)
    install_missing
    python3 -m venv build/python
}

# kubectl: what is on PATH, else the one that hack/tools fetches.
need_kubectl() {
    command -v kubectl >/dev/null 2>&1 && return 0
    hack/tools
    export PATH=$PWD/build/tools:$PATH
}

# Test runner; installed from the crate registry where it is missing.
need_nextest() {
    command -v cargo-nextest >/dev/null 2>&1 && return 0
    say "installing cargo-nextest (some minutes, once)"
    cargo install --locked --quiet cargo-nextest
}
