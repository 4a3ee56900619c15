#!/usr/bin/env bash
# Puts all that a clinic's machine without a network needs into one archive: the images, built and pulled here, docker-compose.yml
# and what it mounts, the scripts, and the SHA-256 of each file. There, local/setup.sh loads the images and starts them. The machine
# must have the same kind of processor as this one. Needs docker with compose.
#
#   local/bundle.sh              (make bundle)
#   local/bundle.sh --list       says which files go in beside the images, and does nothing
#
# WITHOUT  services whose images are left out, such as "grafana alloy"     none
# OUT      the folder that the archive is left in                          this one
# VERSION  what is built is called                                         that of Git
set -euo pipefail
LC_ALL=C
export LC_ALL
cd "$(dirname "${BASH_SOURCE[0]}")/.."

WITHOUT=${WITHOUT:-}
OUT=${OUT:-.}
VERSION=$(printf '%s' "${VERSION:-$(git describe --tags --always --dirty 2>/dev/null || echo dev)}" | tr -c 'A-Za-z0-9_.-' '-')

say() { printf '%s\n' "$*"; }
fail() { printf 'bundle: %s\n' "$*" >&2; exit 1; }

# files: what docker-compose.yml reads or mounts, what sets up and checks it, and what is to be read about it.
files() {
  local script
  printf '%s\n' docker-compose.yml .env.example docs/operations.md
  find nginx prometheus grafana loki alloy -type f
  for script in local/*.sh; do
    case $script in */bundle.sh | */deps.sh | */test-on-prem.sh) ;; *) echo "$script" ;; esac # for whoever develops
  done
}

# compose ARGUMENTS...: with the settings of .env.example, whatever this machine's own .env says. No secret goes in.
compose() {
  VERSION=$VERSION HMAC_SECRET=none REDIS_PASSWORD=none GRAFANA_ADMIN_PASSWORD=none \
    docker compose --file docker-compose.yml --env-file .env.example "$@"
}

# images: service and image, one a line, of all that are not left out.
images() {
  compose config | awk -v without=" $WITHOUT " '
    /^[a-z]/ { services = $1 == "services:" }
    services && /^  [a-z]/ { service = $1; sub(":", "", service) }
    services && /^    image: / && !index(without, " " service " ") { print service, $2 }'
}

# get: builds what is ours, and pulls what is not here.
get() {
  local service image
  compose build pulsevault transcode-worker
  for service in $WITHOUT; do
    compose config --services | grep -qx -- "$service" || fail "WITHOUT names $service, and there is no such service"
    case $service in grafana | loki | alloy | prometheus) ;; *) fail "nothing works without $service" ;; esac
  done
  while read -r service image; do
    docker image inspect "$image" >/dev/null 2>&1 || docker pull --quiet "$image" </dev/null ||
      fail "$image cannot be had: WITHOUT=\"$service\" leaves $service out"
  done <"$T/images"
}

# pack: leaves in $T/$NAME what goes into the archive.
pack() {
  local file
  mkdir "$T/$NAME"
  files | while read -r file; do
    mkdir -p "$T/$NAME/$(dirname "$file")"
    cp "$file" "$T/$NAME/$file"
  done
  printf '%s\n' "VERSION=$VERSION" "ARCHITECTURE=$ARCHITECTURE" "WITHOUT=$WITHOUT" >"$T/$NAME/BUNDLE"
  sed 's/^[^ ]* /IMAGE=/' "$T/images" | sort -u >>"$T/$NAME/BUNDLE"
  # shellcheck disable=SC2046 # names of images have no spaces
  docker save --output "$T/$NAME/images.tar" $(sed -n 's/^IMAGE=//p' "$T/$NAME/BUNDLE")
  chmod -R u=rwX,go=rX "$T/$NAME"
  (cd "$T/$NAME" && find . -type f -exec sha256sum {} +) >"$T/sums"
  mv "$T/sums" "$T/$NAME/SHA256SUMS"
}

[ "${1:-}" != --list ] || { files; exit 0; }
docker compose version >/dev/null 2>&1 || fail "docker with its plugin compose is needed"
ARCHITECTURE=$(docker version --format '{{.Server.Arch}}' 2>/dev/null) || fail "docker does not answer: start it, and see that you may use it"
NAME=pulsevault-$VERSION-$ARCHITECTURE
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
T=$(mktemp -d "$OUT/.bundle.XXXXXX")
trap 'rm -rf "$T"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
images >"$T/images"
get
pack
tar -C "$T" -cf - "$NAME" | gzip >"$T/$NAME.tar.gz"
mv "$T/$NAME.tar.gz" "$OUT/"
(cd "$OUT" && sha256sum "$NAME.tar.gz" | tee "$NAME.tar.gz.sha256")
say "$OUT/$NAME.tar.gz: $(sed -n 's/^IMAGE=//p' "$T/$NAME/BUNDLE" | paste -sd ' ' -)"
[ -z "$WITHOUT" ] || say "left out: $WITHOUT"
