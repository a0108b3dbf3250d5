#!/usr/bin/env bash
# Build the image prestacop without a Docker daemon, and run it: its version, and a small run-local as a user without
# rights. Debian is the base, by debootstrap, and Go that of this machine; layers are in TMPDIR, 10 GB, and removed.
#   tests/image.sh
# Needs root, debootstrap, buildah and Go (Debian: apt-get install debootstrap buildah), and a network. What the builder needs of this
# machine (pip.conf, hosts, certificate authorities) is in the base: the image is for this test alone.
set -euo pipefail

cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "error: chroot needs root: sudo tests/image.sh" >&2; exit 2; }
for tool in debootstrap buildah go; do
    command -v "$tool" >/dev/null || { echo "error: install $tool" >&2; exit 2; }
done
work=$(mktemp -d "${TMPDIR:-/tmp}/image-XXXXXX")
clean() {
    buildah rm --all >/dev/null 2>&1 || true  # it has mounts, below a mount of its own
    umount "$work/storage/overlay" 2>/dev/null || true
    rm -rf --one-file-system "$work"
}
trap clean EXIT
export BUILDAH_ISOLATION=chroot XDG_RUNTIME_DIR=$work/run
mkdir "$XDG_RUNTIME_DIR"
buildah() { command buildah --root "$work/storage" --runroot "$work/runroot" "$@"; }

image_of() { # NAME DIR PATH: an image that has a directory at a path
    local container
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$2" "$3" >/dev/null
    buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
    buildah commit --quiet --rm "$container" "$1" >/dev/null
}

echo "== debootstrap trixie"
debootstrap --variant=minbase --include=ca-certificates,python3-venv trixie "$work/base" \
    ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$work/debootstrap.log" 2>&1 || { tail -n 20 "$work/debootstrap.log" >&2; exit 4; }
for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
    [ ! -e "$file" ] || install -D --mode=644 "$file" "$work/base$file"
done
image_of base "$work/base" /
image_of go "$(go env GOROOT)" /usr/local/go
rm -rf "$work/base"

echo "== deploy/Dockerfile, target prestacop"
buildah bud --quiet --layers=false --network=host --file deploy/Dockerfile --target prestacop --tag prestacop \
    --build-arg BASE=localhost/base --build-arg GO=localhost/go .
container=$(buildah from --pull-never localhost/prestacop)
run() { buildah run --network=host "$container" -- "$@"; }
run prestacop --version
run id
run prestacop run-local --data /tmp/data --rows 2000 --drones 5 --seconds 60 --quiet
run test -x /usr/local/bin/prism
run python -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("pytest") is not None)'
echo "== it runs: $(buildah images --format '{{.Size}}' localhost/prestacop)"
