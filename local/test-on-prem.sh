#!/usr/bin/env bash
# Tries the stack of docker-compose.yml for real, apart from any other on this machine: in a copy of the repository, with a
# project, ports, volumes, certificate and secrets of its own. It is set up twice (the second time must change nothing), checked
# by infrastructure.sh, put under load, its services are killed one after another and made anew, its secrets are changed, a backup
# is taken and restored, the volume of its media is filled, and it is taken down again. An image that cannot be had is said, and
# its service left out. Needs docker with compose, curl, openssl, Go.
#
#   local/test-on-prem.sh        (make test-on-prem)
#
# ONLY   which parts after the set-up, such as "checks plays"      checks scale plays kill upgrade rotate drill fill
# KEEP   yes leaves the stack running, and says where                          no
# LOG    the file in which the output of the builds is kept                    one that is removed
set -euo pipefail
LC_ALL=C
export LC_ALL
cd "$(dirname "${BASH_SOURCE[0]}")/.."

ONLY=${ONLY:-checks scale plays kill upgrade rotate drill fill}
PROJECT=pulsevault-test-$$
T=$(mktemp -d "${TMPDIR:-/tmp}/$PROJECT.XXXXXX")
LOG=${LOG:-$T/log}

say() { printf '\n== %s\n' "$*"; }
wanted() { case " $ONLY " in *" $1 "*) true ;; *) false ;; esac; }

untested() { # WHY
  echo "NOT TESTED: the stack on a clinic's own machine, since $1"
  rm -rf "$T"
  exit 0
}
# had IMAGE: it is here, or comes in time.
had() { docker image inspect "$1" >/dev/null 2>&1 || timeout 120 docker pull --quiet "$1" >>"$LOG" 2>&1; }

if ! timeout 20 docker info >/dev/null 2>&1 || ! docker compose version >/dev/null 2>&1; then
  untested "no Docker with Compose answers here"
fi
# What nothing can be built of, or do without.
for image in $(awk '/^FROM / && $2 ~ /:/ { print $2 }' Dockerfile) \
  $(awk '/^    image: (redis|nginx)/ { print $2 }' docker-compose.yml); do
  had "$image" || untested "the image $image cannot be had here"
done

finish() {
  local status=$?
  if [ "${KEEP:-no}" = yes ]; then
    say "left running: cd $T/stack (docker compose down --volumes takes it down)"
  else
    [ ! -f "$T/stack/.env" ] || (cd "$T/stack" && docker compose down --volumes --remove-orphans --timeout 20 >>"$LOG" 2>&1) || status=1
    [ ! -d "$T/backup" ] || docker run --rm --user 10001 --volume "$T/backup:/backup" --entrypoint find "pulsevault-worker:$PROJECT" /backup -mindepth 1 -delete || status=1
    docker image rm "pulsevault-server:$PROJECT" "pulsevault-worker:$PROJECT" >/dev/null 2>&1 || true
    rm -rf "$T"
  fi
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ports N: as many that are free now.
ports() {
  local n=$1 p
  for p in $(shuf -i 20000-29999 -n 200); do
    (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null && continue
    echo "$p"
    n=$((n - 1))
    [ "$n" -gt 0 ] || return 0
  done
}

# missing: services whose image is neither here, nor built here, nor to be had.
missing() {
  local service image
  docker compose config >"$T/config"
  for service in $(docker compose config --services); do
    case $service in pulsevault | transcode-worker) continue ;; esac # built here
    image=$(awk -v s="  $service:" '/^  [a-z]/ { ours = $0 == s } ours && /^    image: / { print $2 }' "$T/config")
    had "$image" || echo "$service"
  done
}

# setup: what an administrator does, its output kept; the last lines are shown where it fails.
setup() {
  VERSION=$PROJECT MIN_DISK_GIB=${MIN_DISK_GIB:-5} SKIP_SERVICES=$SKIP_SERVICES local/setup.sh >"$T/setup" 2>&1 && return
  tail -n 30 "$T/setup"
  return 1
}

# scaled N: has so many workers, of which Prometheus reads each.
scaled() {
  local seen=none
  docker compose up --detach --wait --no-recreate --no-deps --scale "transcode-worker=$1" transcode-worker >>"$LOG" 2>&1
  for _ in $(seq 60); do
    seen=$(curl --silent --get "http://127.0.0.1:${FREE[4]}/api/v1/query" --data-urlencode 'query=sum(up{job="transcode-worker"}) == count(up{job="transcode-worker"})' |
      sed -n 's/.*"\([0-9]*\)"\]}.*/\1/p')
    [ "$seen" != "$1" ] || break
    sleep 2
  done
  echo "$(docker compose ps --quiet --status running transcode-worker | wc -l) workers, of which Prometheus reads ${seen:-none}"
  [ "$(docker compose ps --quiet --status running transcode-worker | wc -l)" -eq "$1" ] && [ "$seen" = "$1" ]
}

unset VERSION # Compose would take it, and not what setup calls the images
say "a stack of its own: $PROJECT"
mkdir "$T/stack"
git ls-files -z --cached --others --exclude-standard | grep -zv '^\.tools' | xargs -0 tar -c | tar -x -C "$T/stack"
CGO_ENABLED=0 go build -buildvcs=false -o "$T/onprem" ./local/onprem
cd "$T/stack"
mapfile -t FREE < <(ports 7)
umask 077
{
  cat .env.example
  printf '%s\n' "COMPOSE_PROJECT_NAME=$PROJECT" SERVER_NAME=pulsevault.test "HTTP_PORT=${FREE[0]}" "HTTPS_PORT=${FREE[1]}" \
    "PORT=${FREE[2]}" "REDIS_ADMIN_PORT=${FREE[3]}" "PROMETHEUS_PORT=${FREE[4]}" "GRAFANA_PORT=${FREE[5]}" "LOKI_PORT=${FREE[6]}"
} | awk -F = '/^[A-Z_]+=/ { value[$1] = $0; if (!($1 in order)) { order[$1] = ++n; name[n] = $1 } } END { for (i = 1; i <= n; i++) print value[name[i]] }' >.env
# nginx too is for this machine only.
cat >docker-compose.override.yml <<END
services:
  nginx:
    ports: !override ["127.0.0.1:${FREE[0]}:8080", "127.0.0.1:${FREE[1]}:8443"]
END
SKIP_SERVICES=$(GRAFANA_ADMIN_PASSWORD=x missing | paste -sd ' ' -)
export SKIP_SERVICES
[ -z "$SKIP_SERVICES" ] || say "LEFT OUT, since their images cannot be had here: $SKIP_SERVICES"
setup
grep -v '^ *Container\|^#' "$T/setup" | tail -n 16 | sed 's/pv_.*/pv_…/'

say "set up a second time"
cp .env "$T/env"
setup
cmp "$T/env" .env && echo "the same settings, and no other key"

failed=0
if wanted checks; then
  say "make infrastructure"
  local/infrastructure.sh || failed=1
fi
if wanted scale; then
  say "three workers, and two again"
  { scaled 3 && scaled 2; } || failed=1
fi
if wanted plays; then
  say "2,000 plays a minute through nginx (all from one address, whose limits are raised for it)"
  RATE_API=100000 RATE_MEDIA=100000 RATE_CONNECTIONS=10000 RATE_API_BURST=1000 RATE_MEDIA_BURST=1000 docker compose up --detach --wait --no-deps nginx >>"$LOG" 2>&1
  "$T/onprem" plays || failed=1
  docker compose up --detach --wait --no-deps nginx >>"$LOG" 2>&1
fi
if wanted kill; then
  say "each service killed, and started again, under uploads and plays"
  "$T/onprem" kill || failed=1
fi
if wanted upgrade; then
  say "each service made anew, as an upgrade does, under uploads and plays"
  "$T/onprem" upgrade || failed=1
fi
if wanted rotate; then
  say "each secret changed, under uploads and plays"
  "$T/onprem" rotate || failed=1
fi
if wanted drill; then
  say "a backup under uploads and plays, and a restore of it apart"
  mkdir -m 777 "$T/backup" # the user of the containers writes there
  if "$T/onprem" backup "$T/backup"; then local/restore-drill.sh --stack "$T/backup" || failed=1; else failed=1; fi
fi
if wanted fill; then
  say "the volume of the media filled, and emptied"
  docker compose down --volumes --timeout 20 >>"$LOG" 2>&1
  # In memory, so that it needs no rights on this machine: what is kept is not what is tried here.
  cat >>docker-compose.override.yml <<'END'
volumes:
  media-storage:
    driver_opts: { type: tmpfs, device: tmpfs, o: "size=300m,uid=10001,gid=10001,mode=0750" }
END
  sed -i.old 's/^PULSEVAULT_ADMIN_KEY=.*/PULSEVAULT_ADMIN_KEY=/' .env
  setup
  "$T/onprem" fill || failed=1
fi

say "done$([ $failed = 0 ] || echo ', and something failed')$([ -z "$SKIP_SERVICES" ] || echo "; left out: $SKIP_SERVICES")"
[ $failed = 0 ]
