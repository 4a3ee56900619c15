#!/usr/bin/env bash
# Checks the running stack of docker-compose.yml in fifteen steps, says what each saw, and ends with status 1 if one failed.
# It goes the ways that people go: through nginx by TLS, and to what is published on 127.0.0.1 for the administrator. On its way
# it takes a video from upload to playback, and removes it again. Needs curl, openssl and docker, and .env, which has the
# administrator's key.
#
#   local/infrastructure.sh     (make infrastructure)
#
# SKIP_SERVICES  services that were left out, such as "grafana alloy": their checks are skipped     those that a bundle left out
# WAIT           seconds to wait for the transcoder, for a scrape, for a line of the log            120
set -u
LC_ALL=C
export LC_ALL
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

[ ! -f BUNDLE ] || SKIP_SERVICES=${SKIP_SERVICES:-$(sed -n 's/^WITHOUT=//p' BUNDLE)}
SKIP_SERVICES=${SKIP_SERVICES:-}
WAIT=${WAIT:-120}

for tool in curl openssl docker; do
  command -v "$tool" >/dev/null || { echo "$tool is not installed" >&2; exit 1; }
done
[ -r .env ] || { echo "there is no .env that can be read here: make on-prem makes it" >&2; exit 1; }

fail() { printf 'infrastructure: %s\n' "$*" >&2; exit 1; }
# shellcheck source=local/env.sh
. local/env.sh

NAME=$(setting SERVER_NAME localhost)
HTTP_PORT=$(setting HTTP_PORT 80)
HTTPS_PORT=$(setting HTTPS_PORT 443)
TLS_DIR=$(setting TLS_DIR ./tls)
KEY=$(setting PULSEVAULT_ADMIN_KEY)
API=http://127.0.0.1:$(setting PORT 3000)
PROMETHEUS=http://127.0.0.1:$(setting PROMETHEUS_PORT 9090)
GRAFANA=http://127.0.0.1:$(setting GRAFANA_PORT 3001)
LOKI=http://127.0.0.1:$(setting LOKI_PORT 3100)
FRONT=https://$NAME
[ "$HTTPS_PORT" = 443 ] || FRONT=$FRONT:$HTTPS_PORT

T=$(mktemp -d "${TMPDIR:-/tmp}/pulsevault-infrastructure.XXXXXX") || exit 1
trap 'finish; rm -rf "$T"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- what the checks are written in -----------------------------------------------------------------------------------

NUMBER=0 PASSED=0 FAILED=0 SKIPPED=0

# check TITLE FUNCTION SERVICE...: runs one check, unless a service that it needs was left out.
check() {
  local title=$1 body=$2 service
  shift 2
  NUMBER=$((NUMBER + 1))
  printf '%2d. %s\n' "$NUMBER" "$title"
  for service in "$@"; do
    if left_out "$service"; then
      printf '    SKIPPED: %s was left out\n' "$service"
      SKIPPED=$((SKIPPED + 1))
      return
    fi
  done
  "$body"
  case $? in
    0) PASSED=$((PASSED + 1)) ;;
    2) SKIPPED=$((SKIPPED + 1)) ;; # the check itself has said why
    *) FAILED=$((FAILED + 1)) ;;
  esac
}

left_out() { case " $SKIP_SERVICES " in *" $1 "*) true ;; *) false ;; esac; }

CALL_SECONDS=60
# shellcheck source=local/checks.sh
. local/checks.sh

# What curl is told each time: which name is this machine, and whom to trust. Not on its command line, where others see it.
{
  printf 'connect-to = "%s:%s:127.0.0.1:%s"\n' "$NAME" "$HTTPS_PORT" "$HTTPS_PORT"
  printf 'connect-to = "%s:%s:127.0.0.1:%s"\n' "$NAME" "$HTTP_PORT" "$HTTP_PORT"
  ! self_signed "$TLS_DIR/fullchain.pem" ||
    printf 'cacert = "%s"\n' "$TLS_DIR/fullchain.pem"
} >"$T/.curlrc"
printf 'header = "Authorization: Bearer %s"\n' "$KEY" >"$T/key"
printf 'user = "admin:%s"\n' "$(setting GRAFANA_ADMIN_PASSWORD)" >"$T/grafana"
chmod 600 "$T/key" "$T/grafana"
export CURL_HOME=$T

# asking URL [CURL OPTIONS]: the same with the administrator's key.
asking() { call "$@" -K "$T/key"; }

# holds TEXT WHAT: does the answer hold it?
holds() { grep -qF -- "$1" "$T/body" || unlike "$2 to hold $1" "$(answer)"; }

# text NAME: a string member of the JSON in $T/body.
text() { tr -d '\r\n' <"$T/body" | sed -n 's/.*"'"$1"'" *: *"\([^"]*\)".*/\1/p' | sed 's/\\u0026/\&/g'; }

# inside SERVICE COMMAND...: runs a command in its container.
inside() { docker compose exec -T "$@" </dev/null 2>"$T/stderr"; }

# patiently COMMAND...: tries until it succeeds, for WAIT seconds.
patiently() {
  local until=$((SECONDS + WAIT))
  until "$@"; do
    [ "$SECONDS" -lt "$until" ] || return 1
    sleep 2
  done
}

# --- a video, from upload to playback ---------------------------------------------------------------------------------

# travel: takes a video through nginx with workflow.sh; the video's id is left in VIDEO. The ffmpeg of a worker makes it and plays
# it, so that none is needed here.
travel() {
  local image
  image=$(docker inspect --format '{{.Image}}' "$(docker compose ps --quiet transcode-worker | head -n 1)" 2>/dev/null) ||
    unlike "a transcode-worker, whose ffmpeg makes a video" "none" || return 1
  mkdir "$T/bin" "$T/files"
  cat >"$T/bin/ffmpeg" <<END
#!/bin/sh
exec docker run --rm --network host --add-host '$NAME:127.0.0.1' --user $(id -u):$(id -g) --read-only --cap-drop ALL \
  --volume '$T/files:$T/files' --entrypoint ffmpeg $image "\$@"
END
  chmod +x "$T/bin/ffmpeg"
  PATH="$T/bin:$PATH" TMPDIR="$T/files" BASE_URL="$FRONT" METRICS_URL="$API/metrics" WAIT="$WAIT" MEDIA_ROOT='' VIDEO_DIR='' \
    AUTH="Authorization: Bearer $KEY" local/workflow.sh >"$T/travel" 2>&1
  TRAVELLED=$?
  VIDEO=$(sed -n 's/.*"videoId":"\([^"]*\)".*/\1/p' "$T/travel" | head -n 1)
}

# sign PATH: leaves a link through nginx in URL.
sign() {
  [ -n "${VIDEO:-}" ] || unlike "a video to sign a link for" "none: see check 9" || return 1
  asking "$FRONT/media/sign" -H 'Content-Type: application/json' -d '{"videoId":"'"$VIDEO"'","path":"'"$1"'"}'
  status 200 "POST /media/sign for $1" || return 1
  URL=$FRONT$(text url)
}

# finish: leaves no video behind.
finish() {
  [ -z "${VIDEO:-}" ] || [ -n "${REMOVED:-}" ] || asking "$FRONT/videos/$VIDEO" -X DELETE
}

# --- the checks -------------------------------------------------------------------------------------------------------

services() {
  local service states state bad=0
  states=$(docker compose ps --all --format '{{.Service}} {{.State}} {{.Health}}') || unlike "docker compose ps" "nothing" || return 1
  for service in $(docker compose config --services | sort); do
    state=$(echo "$states" | awk -v s="$service" '$1 == s { print $2 " and " $3 }' | sort | uniq -c | sed 's/^ *//' | paste -sd , -)
    case $state in
      '') left_out "$service" && saw "$service: left out" && continue ;;
      *,*) ;;
      *' running and healthy') saw "$service: $state" && continue ;;
    esac
    unlike "$service running and healthy" "$state" || bad=1
  done
  return $bad
}

redis() {
  local pong info refused queue
  # shellcheck disable=SC2016 # the container's own variable
  pong=$(inside redis sh -c 'REDISCLI_AUTH=$(head -n 1 /run/pulsevault/redis/password) redis-cli ping')
  same "redis-cli ping to say" PONG "$pong" || return 1
  refused=$(inside redis redis-cli ping)
  case $refused in NOAUTH*) ;; *) unlike "no answer without the password" "$refused" || return 1 ;; esac
  # shellcheck disable=SC2016
  info=$(inside redis sh -c 'REDISCLI_AUTH=$(head -n 1 /run/pulsevault/redis/password) redis-cli info persistence' | tr -d '\r' | grep -E '^aof_(enabled|last_write_status):' | paste -sd ' ' -)
  same "append-only file" "aof_enabled:1 aof_last_write_status:ok" "$info" || return 1
  saw "PONG, nothing without the password, $info"
  queue=$(inside pulsevault pulsevault queue --json --limit 1) || unlike "the queue to be read" "$(cat "$T/stderr")" || return 1
  saw "queue: $(echo "$queue" | grep -o '{"queue"[^}]*}' | tr -d '{}"' | paste -sd ' ' -)"
}

api() {
  call "$API/healthz"
  status 200 "GET $API/healthz" || return 1
  call "$API/readyz"
  status 200 "GET $API/readyz" || return 1
  saw "readyz: $(cat "$T/body")"
  call "$API/videos"
  status 401 "GET /videos without a key" || return 1
  asking "$API/videos?limit=1"
  status 200 "GET /videos with the key of .env" || return 1
  saw "GET /videos: 401 without a key, 200 with it"
}

front() {
  call "$FRONT/health"
  status 200 "GET $FRONT/health" || return 1
  call "$FRONT/"
  status 200 "GET $FRONT/" || return 1
  holds '"root":true' "GET /" || return 1
  saw "health: 200, root: $(cat "$T/body")"
  call "$FRONT/metrics"
  status 200 "GET $FRONT/metrics from here" || return 1
  holds pulsevault_uploads_total "GET /metrics" || return 1
  saw "metrics: $(grep -c '^pulsevault_' "$T/body" | tr -d ' ') of ours through nginx"
  call "$FRONT/internal/media/authorize"
  status 404 "GET /internal/media/authorize from outside" || return 1
  same "nginx's own metrics to hold" "nginx_up 1" "$(inside nginx curl -fsS http://127.0.0.1:8081/nginx/metrics | grep '^nginx_up ')" || return 1
  saw "nginx's own metrics: nginx_up 1; /internal/ is 404"
  limited
}

# limited: sends more uploads than may begin at once, none of which says how long it is, and fewer at a time than connections
# are allowed.
limited() {
  local n=$(($(setting RATE_UPLOAD 10) * 2 + 40)) at_once codes wait
  at_once=$(($(setting RATE_UPLOAD_BURST 5) + 3))
  [ "$at_once" -lt "$(setting RATE_CONNECTIONS 10)" ] || at_once=$(($(setting RATE_CONNECTIONS 10) - 1))
  codes=$(curl -sS --http1.1 -K "$T/key" --parallel --parallel-max "$at_once" -X POST -o /dev/null -D "$T/head" \
    -w '%{http_code} %header{retry-after}\n' "$FRONT/uploads?n=[1-$n]" 2>"$T/curl" | sort | uniq -c)
  wait=$(echo "$codes" | awk '$2 == 429 { print $3 }')
  echo "$codes" | awk '$2 == 429 { refused = $1 } $2 == 412 || $2 == 400 { let = $1 } END { exit !(refused && let) }' ||
    unlike "of $n POST /uploads, $at_once at a time, some 429 and some let through" "$(echo "$codes" | paste -sd , -)" || return 1
  [ -n "$wait" ] || unlike "Retry-After with 429" "none" || return 1
  saw "of $n POST /uploads, $at_once at a time: $(echo "$codes" | awk '{ print $2 (" " $1) }' | paste -sd , - | sed 's/\([0-9]*\) \([0-9]*\)/\2 times \1/g'); Retry-After: $wait"
  sleep 1
  asking "$FRONT/uploads" -X POST
  [ "$CODE" != 429 ] || unlike "POST /uploads to be let through a second later" "429" || return 1
}

secret() {
  local secret last
  secret=$(setting HMAC_SECRET)
  [ "${#secret}" -ge 32 ] || unlike "an HMAC_SECRET of 32 bytes or more" "${#secret} bytes" || return 1
  ! grep -qF -- "$secret" .env.example || unlike "a secret of our own" "that of .env.example" || return 1
  case $secret in *[Cc]hange* | *[Ss]ecret* | *[Dd]efault* | *[Ee]xample* | *0123456789* | *12345678*) unlike "a secret that nobody guesses" "one with common words" || return 1 ;; esac
  [ "$(printf '%s' "$secret" | fold -w 1 | sort -u | wc -l)" -ge 10 ] || unlike "a secret of many characters" "one of few" || return 1
  same "the secret that the container signs by to have the SHA-256" "$(printf '%s' "$secret" | openssl dgst -sha256 | sed 's/.* //')" \
    "$(inside pulsevault sh -c 'head -n 1 /run/pulsevault/hmac | tr -d "\n" | sha256sum' | cut -d ' ' -f 1)" || return 1
  sign hls/master.m3u8 || return 1
  saw "HMAC_SECRET: ${#secret} bytes, no default, the same in the container; link: ${URL%%\?*}?token=…"
  call "$URL"
  status 200 "the signed link" || return 1
  last=${URL#"${URL%?}"}
  case $last in 0) last=1 ;; *) last=0 ;; esac
  call "${URL%?}$last"
  status 401 "the same link with its last character changed" || return 1
  saw "the link: 200; with its last character changed: 401"
}

# ask_prometheus QUERY: leaves the answer in $T/body.
ask_prometheus() { call "$PROMETHEUS/api/v1/query" -G --data-urlencode "query=$1"; [ "$CODE" = 200 ]; }

# jobs: those in the answer that were not left out, one a line.
jobs() {
  local job
  grep -o '"job":"[^"]*"' "$T/body" | cut -d '"' -f 4 | sort -u | while read -r job; do left_out "$job" || echo "$job"; done
}

all_up() { ask_prometheus 'up == 0' && [ -z "$(jobs)" ]; }
counted() { ask_prometheus 'sum(pulsevault_uploads_total) > 0' && grep -q '"value"' "$T/body"; }

prometheus() {
  call "$PROMETHEUS/-/ready"
  status 200 "GET $PROMETHEUS/-/ready" || return 1
  patiently all_up || unlike "every target to be up" "down: $(jobs | paste -sd ' ' -)" || return 1
  ask_prometheus 'up == 1'
  saw "up: $(jobs | paste -sd ' ' -)"
  patiently counted || unlike "pulsevault_uploads_total to be more than 0" "$(cat "$T/body")" || return 1
  saw "pulsevault_uploads_total: $(sed 's/.*"value":\[[^,]*,"\([^"]*\)".*/\1/' "$T/body")"
  call "$PROMETHEUS/api/v1/rules?type=alert"
  holds '"type":"alerting"' "the alert rules" || return 1
  saw "alert rules: $(grep -o '"type":"alerting"' "$T/body" | wc -l | tr -d ' '), firing: $(grep -o '"state":"firing","name":"[^"]*"' "$T/body" | cut -d '"' -f 8 | paste -sd ' ' -)"
}

grafana() {
  call "$GRAFANA/api/health"
  status 200 "GET $GRAFANA/api/health" || return 1
  holds '"database"' "GET /api/health" || return 1
  call "$GRAFANA/api/search?type=dash-db"
  status 401 "the dashboards without a password" || return 1
  call "$GRAFANA/api/search?type=dash-db" -u admin:admin
  status 401 "the dashboards with the password that everybody knows" || return 1
  call "$GRAFANA/api/search?type=dash-db" -K "$T/grafana"
  status 200 "the dashboards with GRAFANA_ADMIN_PASSWORD" || return 1
  [ "$(grep -o '"uid"' "$T/body" | wc -l)" -ge 4 ] || unlike "4 dashboards or more" "$(cat "$T/body")" || return 1
  saw "dashboards: $(grep -o '"title":"[^"]*"' "$T/body" | cut -d '"' -f 4 | paste -sd , -)"
  call "$GRAFANA/api/datasources" -K "$T/grafana"
  saw "data sources: $(grep -o '"type":"[^"]*"' "$T/body" | cut -d '"' -f 4 | paste -sd ' ' -)"
}

# ask_loki QUERY: leaves what there is of the last hour in $T/body.
ask_loki() {
  call "$LOKI/loki/api/v1/query_range" -G --data-urlencode "query=$1" --data-urlencode since=1h --data-urlencode limit=5
  [ "$CODE" = 200 ] && grep -q '"values"' "$T/body"
}

loki() {
  local service
  call "$LOKI/ready"
  status 200 "GET $LOKI/ready" || return 1
  saw "ready: $(cat "$T/body")"
  if left_out alloy; then
    saw "SKIPPED: alloy was left out, so nobody sends lines"
    return 2
  fi
  for service in backend transcode-worker nginx audit; do
    patiently ask_loki "{service=\"$service\"}" || unlike "lines of $service" "$(answer)" || return 1
  done
  saw "lines of backend, transcode-worker, nginx and the audit log of the last hour"
}

playback() {
  [ "${TRAVELLED:-1}" = 0 ] || { sed 's/^/    /' "$T/travel" 2>/dev/null; unlike "a video from upload to playback" "what is said above"; return; }
  grep -E '^ *[0-9]+\. |played by|second piece|transcoded; ' "$T/travel" | cut -c 1-140 | sed 's/^/    /'
  saw "all of it through $FRONT"
}

# cached EXPECTED WHAT: of the last answer.
cached() { same "X-Cache-Status of $2" "$1" "$(header x-cache-status)"; }

cache() {
  sign poster.jpg || return 1
  call "$URL"
  status 200 "GET poster.jpg" && cached MISS "what nobody has asked for yet" || return 1
  cp "$T/body" "$T/first"
  sign poster.jpg || return 1 # another token
  call "$URL"
  status 200 "GET poster.jpg again" && cached HIT "the same with another token" || return 1
  cmp -s "$T/first" "$T/body" || unlike "the same bytes from the cache" "others" || return 1
  saw "MISS, then HIT with another token: the same $(wc -c <"$T/body" | tr -d ' ') bytes"
  segment_cached && gone
}

# segment_cached: a segment that has been played comes from the cache, but to nobody without a link.
segment_cached() {
  local variant
  sign hls/master.m3u8 || return 1
  call "$URL"
  variant=${URL%/*}/$(tr -d '\r' <"$T/body" | grep -v '^#' | grep . | head -n 1)
  status 200 "the master playlist" || return 1
  call "$variant"
  status 200 "a variant playlist" || return 1
  SEGMENT=${variant%/*}/$(tr -d '\r' <"$T/body" | grep -v '^#' | grep . | head -n 1)
  call "$SEGMENT"
  status 200 "a segment" && cached HIT "a segment that was played before" || return 1
  call "${SEGMENT%%\?*}"
  status 401 "the cached segment without a token" && cached BYPASS "the refusal" || return 1
  saw "a played segment: HIT; without a token: 401, X-Cache-Status: $(header x-cache-status)"
}

# gone: a deleted video is gone at once, though it is in the cache and the link is good.
gone() {
  asking "$FRONT/videos/$VIDEO" -X DELETE
  status 204 "DELETE of the video" || return 1
  REMOVED=yes
  call "$SEGMENT"
  status 404 "the cached segment of the deleted video" || return 1
  saw "the video deleted: its cached segment is 404 at once"
}

# handshake OPTIONS...: what openssl says of a connection to nginx.
handshake() { openssl s_client -connect "127.0.0.1:$HTTPS_PORT" -servername "$NAME" "$@" </dev/null 2>&1; }

# agreed OPTIONS...: version and cipher of a connection; nothing if there was none.
agreed() { handshake "$@" | sed -n 's/^ *New, \(TLSv[0-9.]*\), Cipher is \([A-Z0-9_-]*\)$/\1 \2/p' | head -n 1; }

tls() {
  local old
  for old in -tls1 -tls1_1 '-tls1_2 -cipher AES128-SHA:AES256-SHA:DES-CBC3-SHA:ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES128-SHA'; do
    # shellcheck disable=SC2086 # options
    [ -z "$(agreed ${old/-cipher /-cipher @SECLEVEL=0:})" ] || unlike "no connection with $old" "one" || return 1
  done
  [ -n "$(agreed -tls1_2)" ] || unlike "a connection with TLS 1.2" "$(handshake -tls1_2 | head -n 3)" || return 1
  [ -n "$(agreed -tls1_3)" ] || unlike "a connection with TLS 1.3" "$(handshake -tls1_3 | head -n 3)" || return 1
  saw "$(agreed -tls1_2); $(agreed -tls1_3); neither TLS 1.0, 1.1, nor ciphers without forward secrecy"
  handshake -alpn h2 | grep -q 'ALPN protocol: h2' || unlike "HTTP/2" "$(handshake -alpn h2 | grep ALPN)" || return 1
  call "$FRONT/"
  [[ $(header strict-transport-security) == max-age=* ]] || unlike "Strict-Transport-Security" "$(header strict-transport-security)" || return 1
  saw "HTTP/2, Strict-Transport-Security: $(header strict-transport-security)"
  openssl x509 -checkend 604800 -noout -in "$TLS_DIR/fullchain.pem" >/dev/null || unlike "a certificate for a week or more" "$(openssl x509 -noout -enddate -in "$TLS_DIR/fullchain.pem")" || return 1
  saw "certificate: $(openssl x509 -noout -subject -enddate -in "$TLS_DIR/fullchain.pem" | paste -sd ' ' -)"
  redirect
}

redirect() {
  call "http://$NAME:$HTTP_PORT/videos?limit=1"
  if [ "$(setting HTTP_REDIRECT false)" = true ]; then
    [[ $CODE == 30[18] ]] || unlike "HTTP to be redirected" "$CODE" || return 1
    same "Location" "$FRONT/videos?limit=1" "$(header location)" || return 1
    saw "HTTP: $CODE to $(header location)"
  else
    status 401 "GET /videos by HTTP, which HTTP_REDIRECT=false answers itself" || return 1
    saw "HTTP: answered and not redirected, since HTTP_REDIRECT is false (the certificate is self-signed, or not yet trusted)"
  fi
}

audit() {
  local day files verdict
  day=$(date -u +%Y-%m-%d)
  # shellcheck disable=SC2016
  files=$(inside pulsevault sh -c 'cd "$AUDIT_DIR" && stat -c "%a %n" *.log') || unlike "files in the audit log" "$(cat "$T/stderr")" || return 1
  ! echo "$files" | grep -qv '^640 ' || unlike "files of mode 640" "$(echo "$files" | grep -v '^640 ')" || return 1
  for category in access upload transcode auth; do
    echo "$files" | grep -q " $category-$day.log" || unlike "a file $category-$day.log" "$(echo "$files" | paste -sd , -)" || return 1
  done
  saw "files: $(echo "$files" | wc -l | tr -d ' '), of $day: access, upload, transcode, auth"
  verdict=$(inside pulsevault pulsevault audit verify) || unlike "the chains to be whole" "$verdict $(cat "$T/stderr")" || return 1
  echo "$verdict" | grep -q 'is whole' || unlike "The audit log is whole" "$verdict" || return 1
  saw "$(echo "$verdict" | tail -n 1) $(echo "$verdict" | grep -o ' [0-9]* entries' | awk '{ n += $1 } END { print n }') entries"
  [ -n "${VIDEO:-}" ] || return 1
  same "audit report of this video to name" "yes" "$(inside pulsevault pulsevault audit report --video "$VIDEO" --format json | grep -q "$VIDEO" && echo yes)" || return 1
  saw "audit report --video $VIDEO: $(inside pulsevault pulsevault audit report --video "$VIDEO" --format csv | tail -n +2 | wc -l | tr -d ' ') entries"
}

workers() {
  local n want
  want=$(setting WORKERS 2)
  n=$(docker compose ps --status running --quiet transcode-worker | wc -l | tr -d ' ')
  [ "$n" -ge "$want" ] || unlike "$want workers or more, as WORKERS says" "$n" || return 1
  for id in $(docker compose ps --quiet transcode-worker); do
    docker exec "$id" pulsevault healthcheck --addr 127.0.0.1:9090 >"$T/body" 2>&1 || unlike "worker $id ready" "$(cat "$T/body")" || return 1
    saw "$(docker inspect --format '{{.Name}}' "$id"): $(cat "$T/body"), $(docker exec "$id" ffmpeg -version | head -n 1 | cut -d ' ' -f 1-3)"
  done
}

storage() {
  local folders
  # shellcheck disable=SC2016
  folders=$(inside pulsevault sh -c 'stat -c "%a %u:%g %n" /media "$UPLOAD_DIR" "$VIDEO_DIR" "$AUDIT_DIR"') || unlike "the folders" "$(cat "$T/stderr")" || return 1
  ! echo "$folders" | grep -qv '^750 10001:10001 ' || unlike "folders of mode 750 that belong to 10001" "$folders" || return 1
  saw "$(echo "$folders" | paste -sd , -)"
  # shellcheck disable=SC2016
  same "folders that everybody may enter or files that everybody may read:" "" "$(inside pulsevault find /media -perm /007 '!' -type l)" || return 1
  # shellcheck disable=SC2016
  same "uploads and videos on one file system:" yes \
    "$(inside pulsevault sh -c '[ "$(stat -c %d "$UPLOAD_DIR")" = "$(stat -c %d "$VIDEO_DIR")" ] && echo yes')" || return 1
  same "/media to be a volume:" yes "$(inside pulsevault grep -q ' /media ' /proc/mounts && echo yes)" || return 1
  # shellcheck disable=SC2016
  inside transcode-worker sh -c 'f=$(mktemp /media/videos/.tmp-probe-XXXXXX) && rm "$f"' || unlike "a worker to write to /media" "$(cat "$T/stderr")" || return 1
  ! inside pulsevault sh -c 'echo >/probe' || unlike "a root that cannot be written to" "one that can" || return 1
  saw "a volume of one file system, $(inside pulsevault df -h /media | awk 'NR == 2 { print $4 " of " $2 " free" }'); everything else is read-only"
}

environment() {
  local name id bad=0
  same "mode of .env" 600 "$(stat -c %a .env 2>/dev/null || stat -f %Lp .env)" || return 1
  for name in HMAC_SECRET REDIS_HOST REDIS_PASSWORD VIDEO_DIR AUTH_MODE GRAFANA_ADMIN_PASSWORD SERVER_NAME; do
    [ -n "$(setting $name)" ] || unlike "$name in .env" "nothing" || return 1
  done
  case $(setting AUTH_MODE) in apikey | oidc) ;; *) unlike "AUTH_MODE apikey or oidc" "$(setting AUTH_MODE)" || return 1 ;; esac
  same "APP_ENV of the server" production "$(inside pulsevault printenv APP_ENV)" || return 1
  saw ".env: mode 600, all that is needed; APP_ENV=production, AUTH_MODE=$(setting AUTH_MODE), version $(inside pulsevault pulsevault version | cut -d ' ' -f 2)"
  for id in $(docker compose ps --quiet); do hardened "$id" || bad=1; done
  [ $bad = 0 ] || return 1
  saw "each container: read-only root, no capability, no new privileges, a limit of memory; none but alloy is root, none but nginx published to the world"
}

# hardened CONTAINER
hardened() {
  local name limits user open
  name=$(docker inspect --format '{{index .Config.Labels "com.docker.compose.service"}}' "$1")
  limits=$(docker inspect --format '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.CapAdd}} {{.HostConfig.SecurityOpt}} {{.HostConfig.Privileged}} {{gt .HostConfig.Memory 0}}' "$1")
  same "$name with" "true [ALL] [] [no-new-privileges:true] false true" "$limits" || return 1
  user=$(docker exec "$1" id -u 2>/dev/null) || user=$(docker inspect --format '{{.Config.User}}' "$1")
  case $name,$user in alloy,0*) ;; *,0 | *,0:* | *,root*) unlike "$name by a user of few rights" "$user" || return 1 ;; esac
  open=$(docker inspect --format '{{range $p, $b := .HostConfig.PortBindings}}{{range $b}}{{.HostIp}}:{{.HostPort}} {{end}}{{end}}' "$1" | tr ' ' '\n' | grep . | grep -v '^127\.0\.0\.1:')
  [ "$name" = nginx ] || [ -z "$open" ] || unlike "$name published on 127.0.0.1 only" "$open" || return 1
}

echo "PulseVault at $FRONT"
travel
check "Services and their health" services
check "Redis and the queue" redis
check "The API, directly" api
check "nginx: health, root, metrics, rate limit" front
check "HMAC secret and signed link" secret
check "Prometheus" prometheus prometheus
check "Grafana" grafana grafana
check "Loki and the log lines" loki loki
check "Upload to playback, through nginx" playback
check "The cache of media" cache
check "TLS" tls
check "The audit log" audit
check "Workers" workers
check "Storage" storage
check "Environment" environment

summary="$PASSED passed, $FAILED failed"
[ $SKIPPED = 0 ] || summary="$summary, $SKIPPED skipped"
echo "$summary"
[ $FAILED = 0 ]
