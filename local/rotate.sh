#!/usr/bin/env bash
# Changes a secret of the running stack of docker-compose.yml while it is used: no service is started anew, and no upload or play
# fails. Each step is written down in .env before it is done, so after whatever ends it in the middle, run it again: it goes on.
#
#   local/rotate.sh hmac                          (make rotate SECRET=hmac)
#       The secret of links. Those that are out stay good by the previous one. The next change, or --finish, drops that, and
#       refuses to while they may live; --force drops it all the same, as after a leak, and so ends them.
#   local/rotate.sh hmac --finish [--force]       (make rotate SECRET=hmac FINISH=yes FORCE=yes)
#   local/rotate.sh redis                         (make rotate SECRET=redis)
#       The password of Redis, which accepts both until all that use it have moved over.
#   local/rotate.sh certificate [FULLCHAIN PRIVKEY]    (make rotate SECRET=certificate FULLCHAIN=… PRIVKEY=…)
#       The certificate of nginx, by the one in these two files; without them, another self-signed one.
#
# SETTLE         seconds for which processes may still go by what was before      3
# LONGEST_VIDEO  seconds that the longest video may have: its links live as much longer, to be played to its end      43200
set -euo pipefail
LC_ALL=C
export LC_ALL
cd "$(dirname "${BASH_SOURCE[0]}")/.."
umask 077

SETTLE=${SETTLE:-3}
LONGEST_VIDEO=${LONGEST_VIDEO:-43200}
FINISH='' FORCE=''

say() { printf '%s\n' "$*"; }
fail() { printf 'rotate: %s\n' "$*" >&2; exit 1; }
usage() { sed -n 's/^#   //p' "${BASH_SOURCE[0]}" | sed 's/ *(make.*//' | grep '^local' >&2; exit 2; }

# shellcheck source=local/env.sh
. local/env.sh

# users: the containers that sign links or use Redis.
users() { docker compose ps --quiet --status running pulsevault transcode-worker; }

# hand_out: writes the files of secrets, and sees that every container has them as they are here.
hand_out() {
  local dir id name
  dir=$(setting SECRETS_DIR ./secrets)
  write_secrets
  for id in $(users); do
    for name in hmac redis/password; do
      docker exec "$id" cat "/run/pulsevault/$name" 2>/dev/null | cmp -s - "$dir/$name" ||
        fail "container ${id:0:12} does not read $name of $dir: make on-prem, and run this again"
    done
  done
}

# --- the secret of links ----------------------------------------------------------------------------------------------

# drop_previous: the state of .env without the secret of before.
drop_previous() {
  local ends now
  [ -n "$(setting HMAC_SECRET_PREVIOUS)" ] || return 0
  now=$(date +%s)
  [ -n "$(setting HMAC_ROTATED_AT)" ] || put HMAC_ROTATED_AT "$now" # somebody else has set it, at a time that nobody knows
  ends=$(($(setting HMAC_ROTATED_AT) + $(setting TOKEN_MAX_SECONDS 86400) + LONGEST_VIDEO))
  if [ "$now" -lt "$ends" ]; then
    [ -n "$FORCE" ] || fail "links that the previous secret has signed may live until $(date -d "@$ends" '+%F %T' 2>/dev/null || echo "$ends in Unix time"): run this later, or with --force (FORCE=yes) to end them now"
    say "the previous secret is dropped before its links have ended: they end now"
  fi
  put HMAC_SECRET_PREVIOUS '' HMAC_ROTATED_AT ''
}

# begun: a change that was cut off is to be ended first. HMAC_ROTATED_AT is a time when it is through.
begun() { [ -n "$(setting HMAC_SECRET_NEXT)" ] || [ "$(setting HMAC_ROTATED_AT)" = begun ]; }

hmac() {
  local next
  hand_out
  if begun; then
    say "a change that was cut off is ended now; run this again for another"
  else
    drop_previous
    if [ -n "$FINISH" ]; then
      hand_out
      say "done: only what the secret of now has signed is good"
      return
    fi
    next=$(secret) # set -e sees if there is none
    put HMAC_SECRET_NEXT "$next"
    hand_out
  fi
  if [ -n "$(setting HMAC_SECRET_NEXT)" ]; then
    say "1. the next secret is known to all: what it signs will be accepted"
    sleep "$SETTLE"
    put HMAC_SECRET_PREVIOUS "$(setting HMAC_SECRET)" HMAC_SECRET "$(setting HMAC_SECRET_NEXT)" HMAC_SECRET_NEXT '' HMAC_ROTATED_AT begun
    hand_out
  fi
  say "2. it signs; links of before stay good by the previous one"
  sleep "$SETTLE"
  put HMAC_ROTATED_AT "$(date +%s)"
  say "done. Once links of before have ended, local/rotate.sh hmac --finish (make rotate SECRET=hmac FINISH=yes) drops the previous one"
}

# --- the password of Redis --------------------------------------------------------------------------------------------

# redis_cli COMMAND...: as one who knows the password.
redis_cli() {
  # shellcheck disable=SC2016 # the container's own variables
  docker compose exec -T redis sh -c 'REDISCLI_AUTH=$(head -n 1 /run/pulsevault/redis/password) exec redis-cli -e "$@"' sh "$@"
}

# accept RULE PASSWORD: + has Redis accept a password, ! refuse it. It is told the SHA-256, so that no list of processes shows more.
accept() {
  local rule='#' answer
  [ "$1" = + ] || rule='!'
  answer=$(redis_cli ACL SETUSER default "$rule$(printf %s "$2" | openssl dgst -sha256 | sed 's/.* //')" 2>&1) && [ "$answer" = OK ] && return
  case $1$answer in *"no such password"*) return 0 ;; esac
  fail "Redis does not take the change of its password: $answer"
}

redis() {
  local id next
  running redis || fail "Redis is not of this stack, or does not run: change its password where it is, and REDIS_PASSWORD in .env"
  [ -n "$(setting REDIS_PASSWORD_NEXT)$(setting REDIS_PASSWORD_PREVIOUS)" ] || { next=$(secret); put REDIS_PASSWORD_NEXT "$next"; }
  hand_out
  if [ -n "$(setting REDIS_PASSWORD_NEXT)" ]; then
    accept + "$(setting REDIS_PASSWORD_NEXT)"
    say "1. Redis accepts the next password too"
    put REDIS_PASSWORD_PREVIOUS "$(setting REDIS_PASSWORD)" REDIS_PASSWORD "$(setting REDIS_PASSWORD_NEXT)" REDIS_PASSWORD_NEXT ''
    hand_out
  fi
  for id in $(users); do
    docker exec "$id" pulsevault queue --json --limit 1 >/dev/null || fail "container ${id:0:12} does not reach Redis: run this again when it does"
  done
  say "2. everybody connects by the new one"
  sleep "$SETTLE" # whoever has read the one of before has shown it by now
  accept ! "$(setting REDIS_PASSWORD_PREVIOUS)"
  put REDIS_PASSWORD_PREVIOUS ''
  hand_out
  say "3. Redis refuses the one of before; connections that are open go on"
  [ "$(redis_cli PING)" = PONG ] || fail "Redis does not answer by the new password"
  say "done"
}

# --- the certificate --------------------------------------------------------------------------------------------------

# stage DIR [FULLCHAIN PRIVKEY]: puts what is to come beside what is there, as *.new. What was put there before stays, if it is whole.
stage() {
  local dir=$1 f
  if [ ! -e "$dir/privkey.pem.new" ] && belongs "$dir/fullchain.pem.new" "$dir/privkey.pem"; then
    mv -f "$dir/fullchain.pem.new" "$dir/fullchain.pem" # whoever was ended in place had only come as far as the key
  fi
  if [ $# -eq 3 ]; then
    for f in "$2" "$3"; do [ -r "$f" ] || fail "$f cannot be read"; done
    belongs "$2" "$3" || fail "$3 is not the key of the first certificate in $2"
    openssl x509 -checkend 0 -noout -in "$2" >/dev/null || fail "the certificate in $2 has ended"
    cat "$2" >"$dir/fullchain.pem.new"
    cat "$3" >"$dir/privkey.pem.new"
  elif ! belongs "$dir/fullchain.pem.new" "$dir/privkey.pem.new"; then
    self_signed "$dir/fullchain.pem" || fail "the certificate in $dir is not self-signed: name the files of the next one, FULLCHAIN and PRIVKEY"
    self_sign "$dir/fullchain.pem.new" "$dir/privkey.pem.new"
  fi
  hand_over "$dir/fullchain.pem.new" "$dir/privkey.pem.new"
}

# place DIR: nginx reads both files when it starts or is told to, so a moment passes in which they do not belong together.
place() {
  local f
  for f in privkey fullchain; do
    [ ! -e "$1/$f.pem.new" ] || { cp -p "$1/$f.pem" "$1/$f.pem.old" && sync "$1/$f.pem.new" && mv -f "$1/$f.pem.new" "$1/$f.pem"; }
  done
}

served() {
  openssl s_client -connect "127.0.0.1:$(setting HTTPS_PORT 443)" -servername "$(setting SERVER_NAME)" </dev/null 2>/dev/null |
    openssl x509 -noout -fingerprint -sha256 2>/dev/null
}

certificate() {
  local dir said want
  dir=$(setting TLS_DIR ./tls)
  stage "$dir" "$@"
  say "1. the next certificate is there, $(openssl x509 -noout -enddate -in "$dir/fullchain.pem.new" | sed 's/notAfter=/until /')"
  place "$dir"
  if ! said=$(docker compose exec -T nginx nginx -t 2>&1); then
    mv -f "$dir/privkey.pem.old" "$dir/privkey.pem"
    mv -f "$dir/fullchain.pem.old" "$dir/fullchain.pem"
    fail "nginx would not take it, so the one of before is back: $said"
  fi
  say "2. it is in its place, and nginx finds it good"
  said=$(docker compose exec -T nginx nginx -s reload 2>&1) || fail "nginx does not take it: $said"
  want=$(openssl x509 -noout -fingerprint -sha256 -in "$dir/fullchain.pem")
  for _ in $(seq 50); do
    [ "$(served)" != "$want" ] || break
    sleep 0.2
  done
  [ "$(served)" = "$want" ] || fail "nginx does not show the new certificate: docker compose logs nginx"
  rm -f "$dir/privkey.pem.old" "$dir/fullchain.pem.old"
  say "3. nginx shows it to whoever comes; connections that are open go on"
  say "done"
}

# --- what is asked for ------------------------------------------------------------------------------------------------

FILES=()
[ $# -gt 0 ] || usage
what=$1
shift
for word; do
  case $word in
    --finish) FINISH=yes ;;
    --force) FORCE=yes ;;
    -*) usage ;;
    *) FILES+=("$(cd "$OLDPWD" && realpath "$word")") ;;
  esac
done
case $what,${#FILES[@]},$FINISH$FORCE in hmac,0,* | redis,0, | certificate,0, | certificate,2,) ;; *) usage ;; esac
[ -O .env ] || fail "there is no .env of yours here: make on-prem makes it"
[ -n "$(setting SECRETS_GID)" ] || fail "the stack is not set up for this: make on-prem"
alone
for service in pulsevault nginx; do
  running "$service" || fail "$service does not run: make on-prem"
done
"$what" "${FILES[@]}"
