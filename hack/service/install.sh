#!/bin/sh
# Installs Coracle from its release archive as a service of systemd, and starts it. Run again, it upgrades: pods go on.
#
# Usage: ./install.sh [server|agent] [FLAG…]
#   A server by default; an agent if CORACLE_URL is set. Flags become those of the service; the configuration file
#   /etc/coracle/config.yaml is the better place for them.
#
# Environment:
#   CORACLE_*                     kept for the service in /etc/coracle/coracle[-agent].env, which only root can read
#   INSTALL_CORACLE_BIN_DIR       where the programs go (default: /usr/local/bin)
#   INSTALL_CORACLE_SKIP_ENABLE   do not start the service when the machine starts
#   INSTALL_CORACLE_SKIP_START    do not start it now
#   INSTALL_CORACLE_DOWNGRADE     allow an older version than the one that is installed
#   DESTDIR                       put everything below this folder, for packages and images; systemd is left alone
#
# Examples:
#   ./install.sh
#   CORACLE_URL=https://10.0.0.1:6443 CORACLE_TOKEN=K10… ./install.sh
#   CORACLE_URL=https://10.0.0.1:6443 CORACLE_TOKEN=K10… ./install.sh server
set -eu

say() { printf '==> %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

usage() { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"; }

root=${DESTDIR:-}
bin_dir=${INSTALL_CORACLE_BIN_DIR:-/usr/local/bin}
unit_dir=/etc/systemd/system
etc_dir=/etc/coracle
from=$(cd "$(dirname "$0")" && pwd)

choose_role() {
    role=server
    [ -z "${CORACLE_URL:-}" ] || role=agent
    case ${1:-} in
        server | agent) role=$1 ;;
        --help | -h) usage; exit 0 ;;
        "" | -*) return 0 ;;
        *) die "unknown argument $1: give server or agent, then flags" ;;
    esac
    shifted=1
}

# The service of the role, and the other one.
name_of() { [ "$1" = agent ] && echo coracle-agent || echo coracle; }

check_archive() {
    [ -f "$from/coracle" ] || die "$from/coracle is missing: run install.sh from the unpacked release archive"
    [ ! -f "$from/SHA256SUMS" ] ||
        (cd "$from" && sha256sum --check --quiet --strict SHA256SUMS >/dev/null 2>&1) ||
        die "the files in $from are not those of the release (SHA256SUMS): unpack the archive anew"
    version=$("$from/coracle" --version 2>/dev/null | awk '{print $2}')
    [ -n "$version" ] || die "$from/coracle does not run here: is the archive for $(uname -m)?"
}

check_machine() {
    [ "$(id -u)" = 0 ] || die "run as root: sudo $0"
    command -v systemctl >/dev/null 2>&1 && [ -d /run/systemd/system ] ||
        die "systemd does not run here: start \`coracle $role\` with your own service manager, or give DESTDIR to unpack only"
    [ ! -e "$unit_dir/$(name_of "$other").service" ] ||
        die "this machine is installed as $other ($(name_of "$other").service): run coracle-uninstall first"
    main=$(systemctl show --property=MainPID --value "$name.service" 2>/dev/null || echo 0)
    for pid in $(running_pids); do
        [ "$pid" = "$main" ] || die "process $pid runs coracle, and is not the service $name: stop it first"
    done
}

# Processes that run a server or an agent in this mount namespace.
running_pids() {
    here=$(readlink /proc/self/ns/mnt)
    for process in /proc/[0-9]*; do
        [ "$(readlink "$process/ns/mnt" 2>/dev/null)" = "$here" ] || continue
        case $(readlink "$process/exe" 2>/dev/null) in */coracle | */coracle\ \(deleted\)) ;; *) continue ;; esac
        case $(tr '\0' '\n' <"$process/cmdline" 2>/dev/null | sed -n 2p) in
            server | agent) echo "${process#/proc/}" ;;
        esac
    done
}

check_version() {
    [ -x "$root$bin_dir/coracle" ] || return 0
    installed=$("$root$bin_dir/coracle" --version 2>/dev/null | awk '{print $2}')
    [ -n "$installed" ] && [ "$installed" != "$version" ] || return 0
    newest=$(printf '%s\n%s\n' "$installed" "$version" | sort -V | tail -n 1)
    [ "$newest" = "$version" ] || [ -n "${INSTALL_CORACLE_DOWNGRADE:-}" ] ||
        die "version $installed is installed, which is newer than $version: give INSTALL_CORACLE_DOWNGRADE=1 if that is meant"
    say "upgrading from $installed to $version"
}

# put FILE TARGET MODE: in one step, also while the old one runs.
put() {
    mkdir -p "$root$(dirname "$2")"
    cp "$1" "$root$2.new"
    chmod "$3" "$root$2.new"
    mv -f "$root$2.new" "$root$2"
}

# A flag as one word of a unit's command line.
quoted() {
    printf '%s' "$1" | sed -e 's/[\\"]/\\&/g' -e 's/%/%%/g' -e 's/\$/$$/g' -e 's/^/ "/' -e 's/$/"/'
}

put_unit() {
    flags=
    for flag in "$@"; do flags="$flags$(quoted "$flag")"; done
    unit=$(mktemp)
    # Read line by line: a flag may hold what sed or awk would take for their own.
    while IFS= read -r line; do
        case $line in ExecStart=*) printf '%s\n' "ExecStart=$bin_dir/coracle $role$flags" ;; *) printf '%s\n' "$line" ;; esac
    done <"$from/$name.service" >"$unit"
    put "$unit" "$unit_dir/$name.service" 0644
    rm -f "$unit"
}

# Without new variables an earlier file stays as it is.
put_environment() {
    variables=$(env | grep '^CORACLE_' | sort || true)
    [ -n "$variables" ] || return 0
    mkdir -p "$root$etc_dir"
    (umask 077 && printf '%s\n' "$variables" >"$root$etc_dir/$name.env.new")
    mv -f "$root$etc_dir/$name.env.new" "$root$etc_dir/$name.env"
}

start_service() {
    systemctl daemon-reload
    [ -n "${INSTALL_CORACLE_SKIP_ENABLE:-}" ] || systemctl --quiet enable "$name.service"
    if [ -n "${INSTALL_CORACLE_SKIP_START:-}" ]; then
        say "installed; start it with: systemctl start $name"
        return
    fi
    say "starting $name; this ends when it is ready"
    systemctl restart "$name.service" ||
        die "$name did not start; its last word: $(journalctl --unit="$name.service" --lines=20 --output=cat 2>/dev/null | grep '^error: ' | tail -n 1)"
    say "$name is ready"
}

shifted=
choose_role "$@"
[ -z "$shifted" ] || shift
[ "$role" = agent ] && other=server || other=agent
name=$(name_of "$role")
[ -n "$root" ] || check_machine
check_archive
check_version
put "$from/coracle" "$bin_dir/coracle" 0755
put "$from/coracle-killall" "$bin_dir/coracle-killall" 0755
put "$from/coracle-uninstall" "$bin_dir/coracle-uninstall" 0755
put_unit "$@"
put_environment
if [ -n "$root" ]; then
    say "$name $version is in $root"
else
    start_service
fi
