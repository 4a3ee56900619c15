#!/usr/bin/env bash
# Sets PulseVault up on a clinic's own machine, and starts it: looks whether the machine will do, writes .env with secrets of
# its own, makes a self-signed certificate where there is none, builds and starts the containers of docker-compose.yml, and
# makes the first administrator's key. What is there stays as it is, so running it again does no harm: it adds what is
# missing, and starts what does not run. In an unpacked bundle (local/bundle.sh) it loads the images that are there, and neither
# builds nor pulls. Needs docker with compose, curl and openssl.
#
#   local/setup.sh              (make on-prem)
#   local/setup.sh --check      looks only, and changes nothing
#
# SKIP_SERVICES  services that are left out, such as "grafana alloy"              those that a bundle has left out
# MIN_DISK_GIB   free disk below which it does not start                           20
# WAIT           seconds within which everything must be healthy                   600
# VERSION        what is built is called                                           that of the bundle, or of Git
set -euo pipefail
LC_ALL=C
export LC_ALL
cd "$(dirname "${BASH_SOURCE[0]}")/.."
umask 077

# bundled NAME: what the bundle says that this was unpacked from; nothing if it was not.
bundled() { [ ! -f BUNDLE ] || sed -n "s/^$1=//p" BUNDLE; }

SKIP_SERVICES=${SKIP_SERVICES:-$(bundled WITHOUT)}
MIN_DISK_GIB=${MIN_DISK_GIB:-20}
WAIT=${WAIT:-600}
DOCKER_LEAST=20.10
COMPOSE_LEAST=2.20

say() { printf '%s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }
warn() { printf 'note: %s\n' "$*" >&2; }

# shellcheck source=local/env.sh
. local/env.sh

# --- what the machine must have ---------------------------------------------------------------------------------------

# older A B: is version A older than B? What is no version is taken for new.
older() {
  case $1 in [0-9]*) ;; *) return 1 ;; esac
  [ "$1" != "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort -t . -k 1,1n -k 2,2n -k 3,3n | head -n 1)" = "$1" ]
}

check_programs() {
  local tool engine compose
  for tool in docker curl openssl awk; do
    command -v "$tool" >/dev/null || fail "$tool is missing: install it (docker: https://docs.docker.com/engine/install)"
  done
  engine=$(docker version --format '{{.Server.Version}}' 2>/dev/null) ||
    fail "docker does not answer: start it, and see that you may use it (you are $(id -un))"
  compose=$(docker compose version --short 2>/dev/null) ||
    fail "docker has no compose: install its plugin, https://docs.docker.com/compose/install/linux"
  compose=${compose#v}
  older "$engine" $DOCKER_LEAST && fail "Docker is $engine: it must be $DOCKER_LEAST or newer, https://docs.docker.com/engine/install"
  older "$compose" $COMPOSE_LEAST && fail "Compose is $compose: it must be $COMPOSE_LEAST or newer"
  say "docker      $engine, compose $compose"
}

check_disk() {
  local dir free
  dir=$(docker info --format '{{.DockerRootDir}}')
  if [ ! -d "$dir" ]; then
    warn "how much disk is free could not be seen from here: $dir is on another machine"
    return
  fi
  free=$(df -Pk "$dir" | awk 'NR == 2 { print int($4 / 1048576) }')
  [ "$free" -ge "$MIN_DISK_GIB" ] ||
    fail "only $free GiB are free where Docker keeps its volumes ($dir): $MIN_DISK_GIB are needed (MIN_DISK_GIB says how many), and the videos' own space"
  [ "$free" -ge $((MIN_DISK_GIB * 3)) ] || warn "$free GiB are free in $dir: soon too little for videos, 10 GB of cache and 30 days of logs"
  say "disk        $free GiB free in $dir"
}

# port NAME SERVICE DEFAULT: is it free, or our own service's?
port() {
  local number
  number=$(setting "$1")
  number=${number:-$3}
  running "$2" || ! (exec 3<>"/dev/tcp/127.0.0.1/$number") 2>/dev/null ||
    fail "something listens on port $number already, which $2 is to have: stop that, or set $1 in .env to a free port"
  PORTS="${PORTS:-}$2 $number, "
}

check_ports() {
  port HTTP_PORT nginx 80
  port HTTPS_PORT nginx 443
  port PORT pulsevault 3000
  port REDIS_ADMIN_PORT redis 6379
  port PROMETHEUS_PORT prometheus 9090
  port GRAFANA_PORT grafana 3001
  port LOKI_PORT loki 3100
  say "ports       ${PORTS%, }"
}

# --- .env and the certificate -----------------------------------------------------------------------------------------

# free_network: the first three numbers of a network that Docker has no objection to.
free_network() {
  local n probe=pulsevault-probe-$$
  for n in 61 62 63 64 65 66 67 68; do
    if docker network create --subnet "172.30.$n.0/24" "$probe" >/dev/null 2>&1; then
      docker network rm "$probe" >/dev/null
      echo "172.30.$n"
      return
    fi
  done
  fail "none of the networks 172.30.61.0/24 to 172.30.68.0/24 is free: set FRONT_NETWORK in .env to one that is"
}

# cpus AT_MOST: that many processors, or as many as the machine has.
cpus() {
  local have
  have=$(docker info --format '{{.NCPU}}')
  if [ "$have" -lt "$1" ]; then echo "$have"; else echo "$1"; fi
}

write_settings() {
  local name line network
  if [ ! -f .env ]; then
    cp .env.example .env
    docker volume inspect "$(project)_grafana-data" >/dev/null 2>&1 &&
      warn "there are volumes of before, but no .env: links that were given are void, and Grafana keeps the password that it had"
  fi
  [ -O .env ] || fail ".env belongs to somebody else: run this as its owner"
  chmod 600 .env
  want HMAC_SECRET "$(secret)"
  want REDIS_PASSWORD "$(secret)"
  want GRAFANA_ADMIN_PASSWORD "$(openssl rand -hex 16)"
  want SERVER_NAME "$(hostname -f 2>/dev/null || hostname)"
  want TLS_DIR ./tls
  if [ "$(id -u)" = 0 ]; then want TLS_GID 101; want SECRETS_GID 10001; else want TLS_GID "$(id -g)"; want SECRETS_GID "$(id -g)"; fi
  [ -n "$(setting FRONT_NETWORK)" ] || { network=$(free_network); put FRONT_NETWORK "$network"; } # set -e sees what fails in the first
  for name in SERVER_CPUS WORKER_CPUS; do want $name "$(cpus 2)"; done
  put VERSION "$(version)"
  unset VERSION # Compose would take it from there and not from .env
  while IFS= read -r line; do # settings that are new since .env was written
    name=${line%%=*}
    grep -q "^$name=" .env || put "$name" "${line#*=}"
  done < <(grep '^[A-Z_]*=' .env.example)
  same_password
  write_secrets
  own_group
  say "settings    .env (mode 0600)"
}

# own_group: some distributions put everybody into one group.
own_group() {
  [ "$(id -u)" = 0 ] || [ "$(id -gn)" = "$(id -un)" ] || [ "$(setting SECRETS_GID)" != "$(id -g)" ] ||
    warn "whoever is in the group $(id -gn) may read the secrets: set SECRETS_GID and TLS_GID in .env to a group of your own, and chgrp privkey.pem"
}

# same_password: a Redis that runs would refuse one that was only written into .env.
same_password() {
  local file
  file=$(setting SECRETS_DIR ./secrets)/redis/password
  ! running redis || [ ! -f "$file" ] || setting REDIS_PASSWORD | grep -qxFf - "$file" ||
    fail "REDIS_PASSWORD in .env is not what Redis has: put back what stands in $file; make rotate SECRET=redis changes it"
}

# readable: lets the containers, whose users are others, read what they are configured by. No secret stands in it.
readable() {
  local dir
  for dir in nginx prometheus grafana loki alloy; do [ ! -d $dir ] || chmod -R go+rX $dir; done
}

# project: the name that Compose gives to everything.
project() { local p; p=${COMPOSE_PROJECT_NAME:-$(setting COMPOSE_PROJECT_NAME)}; echo "${p:-pulsevault}"; }

# version: that of the bundle, of the environment, of Git, or of before. A tag of an image allows fewer characters than Git.
version() {
  local v
  v=$(bundled VERSION)
  v=${v:-${VERSION:-}}
  [ -n "$v" ] || v=$(git describe --tags --always --dirty 2>/dev/null) || v=$(setting VERSION)
  v=${v:-dev}
  printf '%s' "$v" | tr -c 'A-Za-z0-9_.-' '-'
}

# certificate: makes a self-signed one where there is none, and sees that nginx, a member of TLS_GID, can read the key.
certificate() {
  local dir gid
  dir=$(setting TLS_DIR) gid=$(setting TLS_GID)
  mkdir -p "$dir"
  chmod 755 "$dir"
  if [ ! -e "$dir/fullchain.pem" ] && [ ! -e "$dir/privkey.pem" ]; then
    self_sign "$dir/fullchain.pem" "$dir/privkey.pem"
    hand_over "$dir/fullchain.pem" "$dir/privkey.pem"
  fi
  for f in fullchain privkey; do
    [ -f "$dir/$f.pem" ] || fail "$dir has no $f.pem: put the certificate there, or take both files away to have a self-signed one made"
  done
  belongs "$dir/fullchain.pem" "$dir/privkey.pem" ||
    fail "$dir/privkey.pem is not the key of the first certificate in $dir/fullchain.pem"
  find "$dir/privkey.pem" -perm -0004 | grep -q . && fail "everybody may read $dir/privkey.pem: chmod 640 it"
  find "$dir/privkey.pem" -perm -0040 -gid "$gid" | grep -q . ||
    fail "nginx may not read $dir/privkey.pem: chgrp $gid and chmod 640 it, or set TLS_GID in .env to its group"
  openssl x509 -checkend 1209600 -noout -in "$dir/fullchain.pem" >/dev/null || warn "the certificate in $dir ends within two weeks"
  if self_signed "$dir/fullchain.pem"; then want HTTP_REDIRECT false; else want HTTP_REDIRECT true; fi
  say "certificate $dir/fullchain.pem, $(openssl x509 -noout -enddate -in "$dir/fullchain.pem" | sed 's/notAfter=/until /')"
}

# --- the images of a bundle -------------------------------------------------------------------------------------------

# load: loads the images of a bundle, once, if all its files are what they were when it was made. Later they may be changed.
load() {
  local arch sums
  [ -f BUNDLE ] || return 0
  sums=$(sha256sum <SHA256SUMS)
  if [ "$(cat .loaded 2>/dev/null)" = "$sums" ] && all_here; then return; fi
  arch=$(docker version --format '{{.Server.Arch}}')
  [ "$arch" = "$(bundled ARCHITECTURE)" ] || fail "this bundle is for $(bundled ARCHITECTURE), and this machine is $arch: have one made on such a machine"
  sha256sum --check --strict --quiet SHA256SUMS || fail "this bundle is damaged, see above: unpack it again, or have it carried over again"
  docker load --quiet --input images.tar >/dev/null || fail "the images could not be loaded from images.tar"
  all_here || fail "images.tar has not brought all images that BUNDLE names"
  echo "$sums" >.loaded
  say "images      $(bundled IMAGE | wc -l | tr -d ' ') of the bundle, which is whole"
}

# all_here: has the engine each image of the bundle?
all_here() {
  # shellcheck disable=SC2046 # names of images have no spaces
  docker image inspect $(bundled IMAGE) >/dev/null 2>&1
}

# --- start ------------------------------------------------------------------------------------------------------------

# services: those that are to run, one a line.
services() {
  local s
  for s in $(docker compose config --services); do
    case " $SKIP_SERVICES " in *" $s "*) ;; *) echo "$s" ;; esac
  done
}

start() {
  local images=(--build --quiet-pull)
  [ ! -f BUNDLE ] || images=(--no-build --pull never)
  [ -z "$SKIP_SERVICES" ] || say "left out    $SKIP_SERVICES"
  say "starting    this takes some minutes the first time"
  # shellcheck disable=SC2046 # names of services have no spaces
  docker compose up --detach --wait --wait-timeout "$WAIT" "${images[@]}" $(services) && return
  docker compose ps --all --format 'table {{.Service}}\t{{.Status}}'
  docker compose logs --tail 5 --no-log-prefix "$(docker compose ps --all --format '{{.Service}} {{.Status}}' | awk '!/healthy/ || /unhealthy/ { print $1; exit }')" || true
  fail "not everything became healthy within $WAIT seconds: docker compose logs SERVICE tells more"
}

# admin_key: makes the first administrator's key, unless .env has one that opens something.
admin_key() {
  local key api
  key=$(setting PULSEVAULT_ADMIN_KEY)
  api=http://127.0.0.1:$(setting PORT 3000)
  [ "$(setting AUTH_MODE apikey)" = apikey ] && [ "$key" != none ] || return 0
  if [ -n "$key" ]; then
    printf 'header = "Authorization: Bearer %s"\n' "$key" | curl -fsS -o /dev/null -K - "$api/videos?limit=1" ||
      fail "PULSEVAULT_ADMIN_KEY in .env opens nothing: empty it, and run this again to have another made"
    return 0
  fi
  key=$(docker compose exec -T pulsevault pulsevault keys create --name administrator --role admin 2>/dev/null) ||
    fail "the first key could not be made: docker compose exec pulsevault pulsevault keys create --name administrator --role admin"
  put PULSEVAULT_ADMIN_KEY "$key"
  FIRST_KEY=$key
}

# origin SCHEME PORT DEFAULT: where people reach us.
origin() { printf '%s://%s' "$1" "$(setting SERVER_NAME)"; [ "$2" = "$3" ] || printf ':%s' "$2"; }

welcome() {
  local note='' check='make infrastructure'
  [ ! -f BUNDLE ] || check=local/infrastructure.sh
  ! self_signed "$(setting TLS_DIR)/fullchain.pem" || note='   (self-signed: browsers warn, until TLS_DIR holds another)'
  cat <<END

PulseVault $(setting VERSION) is running.
  for people   $(origin https "$(setting HTTPS_PORT)" 443)$note
  API          http://127.0.0.1:$(setting PORT)
  Grafana      http://127.0.0.1:$(setting GRAFANA_PORT)   user admin, GRAFANA_ADMIN_PASSWORD in .env
  Prometheus   http://127.0.0.1:$(setting PROMETHEUS_PORT)
  Loki         http://127.0.0.1:$(setting LOKI_PORT)
  Redis        127.0.0.1:$(setting REDIS_ADMIN_PORT)
try: $check    (checks all of it)
     docker compose exec pulsevault pulsevault keys create --name "front desk" --role uploader
END
  [ -z "${FIRST_KEY:-}" ] || cat <<END

The first administrator's key, shown this once (PULSEVAULT_ADMIN_KEY in .env is the same):
  $FIRST_KEY
END
}

check_programs
check_disk
check_ports
[ "${1:-}" != --check ] || exit 0
alone
load
write_settings
readable
certificate
start
admin_key
welcome
