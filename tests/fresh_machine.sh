#!/usr/bin/env bash
# Run the README's commands on a fresh Debian: with what the README says to install, as a user without root rights.
#   tests/fresh_machine.sh [trixie|bookworm] [TARGET...]     by default: trixie (Python 3.13), make run-local, make test
# bookworm has Python 3.11. What is committed here is cloned there. Needs root, debootstrap, 3 GB of disk and a network:
# DEBIAN_MIRROR, PIP_INDEX_URL and the proxies of the environment count there too, and so do this machine's pip.conf,
# hosts and certificate authorities.
set -euo pipefail

debian=${1:-trixie}
targets=("${@:2}")
[ ${#targets[@]} -gt 0 ] || targets=(run-local test)
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
[ "$(id -u)" = 0 ] || { echo "error: chroot needs root: sudo make fresh-machine" >&2; exit 2; }
command -v debootstrap >/dev/null || { echo "error: install debootstrap (Debian, Ubuntu: apt-get install debootstrap)" >&2; exit 2; }

root=$(mktemp -d "${TMPDIR:-/tmp}/fresh-$debian-XXXXXX")
trap 'rm -rf --one-file-system "$root"' EXIT  # the mounts below are in a namespace that has ended by then
chmod 755 "$root"

echo "== debootstrap $debian"
debootstrap --variant=minbase "$debian" "$root" "$mirror" >"$root.log" 2>&1 || { tail -n 20 "$root.log" >&2; exit 4; }
mv "$root.log" "$root/var/log/debootstrap.log"
copy_settings() {
    for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
        [ ! -e "$file" ] || install -D --mode=644 "$file" "$root$file"
    done
}
copy_settings
git -C "$(dirname "$0")/.." bundle create --quiet "$root/srv/prestacop.bundle" HEAD

environment=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8)
for name in PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST {http,https,no}_proxy {HTTP,HTTPS,NO}_PROXY; do
    [ -z "${!name:-}" ] || environment+=("$name=${!name}")
done

export root
export -f copy_settings
unshare --mount --pid --fork --kill-child bash -s -- "${environment[@]}" -- "${targets[@]}" <<'INSIDE'
set -euo pipefail
environment=()
while [ "$1" != -- ]; do environment+=("$1"); shift; done
shift
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
TIMEFORMAT="== %R s"

as_root() { chroot "$root" env -i HOME=/root DEBIAN_FRONTEND=noninteractive "${environment[@]}" "$@"; }
as_user() {
    chroot --userspec=visitor:visitor "$root" env -i HOME=/home/visitor USER=visitor "${environment[@]}" \
        bash -c 'cd && cd "$0" && exec "$@"' "$@" </dev/null
}
echo "== apt-get install make git python3-venv"
as_root apt-get update -qq
as_root apt-get install -qq --no-install-recommends make git python3-venv >>"$root/var/log/apt-get.log"
copy_settings  # venv's pip brings Debian's own certificate authorities in place of this machine's
as_root useradd --create-home --shell /bin/bash visitor
as_user . git -c init.defaultBranch=main -c advice.detachedHead=false clone --quiet /srv/prestacop.bundle prestacop
. "$root/etc/os-release"
echo "== $PRETTY_NAME, $(as_user . python3 --version), $(as_user . id --user --name), commit $(as_user prestacop git rev-parse --short HEAD)"
for target in "$@"; do
    echo "== make $target"
    time as_user prestacop make "$target"
done
as_user prestacop .venv/bin/prestacop doctor
INSIDE
echo "== passed on $debian: make ${targets[*]}"
