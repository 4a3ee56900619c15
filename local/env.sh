# shellcheck shell=bash
# The settings of .env, what is made of them, and the certificate: sourced by setup.sh, rotate.sh and infrastructure.sh, which
# have `fail` and run where .env is.
#
# .env is the one place of every secret. The containers read two of them from files that are made of it, because a file can be
# changed while they run: one secret a line, the first is used, the others are accepted too.
#
#   $SECRETS_DIR/hmac              HMAC_SECRET, HMAC_SECRET_PREVIOUS, HMAC_SECRET_NEXT
#   $SECRETS_DIR/redis/password    REDIS_PASSWORD, REDIS_PASSWORD_PREVIOUS, REDIS_PASSWORD_NEXT

# setting NAME [DEFAULT]: its value in .env; the default if it has none.
setting() {
  local value=
  [ ! -f .env ] || value=$(sed -n "s/^$1=//p" .env | tail -n 1)
  printf '%s\n' "${value:-${2:-}}"
}

# put NAME VALUE [NAME VALUE]...: sets them in .env, each in the line that has it, or in one of its own at the end. The file is
# replaced as a whole, and is on disk then.
put() {
  local new=.env.new.$$
  cp .env "$new"
  while [ $# -gt 0 ]; do
    NAME=$1 VALUE=$2 awk '
      index($0, ENVIRON["NAME"] "=") == 1 { if (!done) print ENVIRON["NAME"] "=" ENVIRON["VALUE"]; done = 1; next }
      { print }
      END { if (!done) print ENVIRON["NAME"] "=" ENVIRON["VALUE"] }' "$new" >"$new.1"
    mv "$new.1" "$new"
    shift 2
  done
  replace "$new" .env 600
}

# replace NEW OLD MODE: renames NEW over OLD; both are in one folder.
replace() {
  chmod "$3" "$1"
  sync "$1" 2>/dev/null || sync
  mv -f "$1" "$2"
}

# want NAME VALUE: sets it where it has no value yet.
want() { [ -n "$(setting "$1")" ] || put "$1" "$2"; }

secret() { openssl rand -hex 32; }

# alone: no other of these scripts changes .env until this one ends.
alone() {
  command -v flock >/dev/null || return 0
  exec 9<.
  flock --timeout 30 9 || fail "another make on-prem or make rotate is running here: wait until it is done"
}

# running SERVICE: does a container of ours run it?
running() { [ -n "$(docker compose ps --quiet --status running "$1" 2>/dev/null)" ]; }

# write_secrets: makes the files of secrets what .env says. Only the group SECRETS_GID can read them, and the containers that need
# them are its members. What is right stays untouched.
write_secrets() {
  local dir gid
  dir=$(setting SECRETS_DIR ./secrets) gid=$(setting SECRETS_GID)
  mkdir -p "$dir/redis"
  chgrp "$gid" "$dir" "$dir/redis"
  chmod 750 "$dir" "$dir/redis"
  write_secret "$dir/hmac" HMAC_SECRET
  write_secret "$dir/redis/password" REDIS_PASSWORD
}

write_secret() { # FILE NAME
  local name new=$1.new.$$
  for name in "$2" "$2_PREVIOUS" "$2_NEXT"; do setting "$name"; done | grep . >"$new" || fail "$2 in .env is empty: make on-prem makes one"
  chgrp "$(setting SECRETS_GID)" "$new"
  if cmp -s "$new" "$1"; then rm "$new"; else replace "$new" "$1" 640; fi
}

# self_sign CERTIFICATE KEY: makes a self-signed certificate for SERVER_NAME.
self_sign() {
  local name
  name=$(setting SERVER_NAME)
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 825 -subj "/CN=$name" \
    -addext "subjectAltName=DNS:$name,DNS:localhost,IP:127.0.0.1" -addext "extendedKeyUsage=serverAuth" \
    -keyout "$2" -out "$1" 2>/dev/null || fail "openssl could not make a certificate for $name"
}

self_signed() {
  [ "$(openssl x509 -noout -subject_hash -in "$1")" = "$(openssl x509 -noout -issuer_hash -in "$1")" ]
}

# belongs CERTIFICATE KEY: is it the key of the certificate, the first one in the file?
belongs() {
  local key
  key=$(openssl pkey -pubout -in "$2" 2>/dev/null) && [ -n "$key" ] && [ "$(openssl x509 -noout -pubkey -in "$1" 2>/dev/null)" = "$key" ]
}

# hand_over CERTIFICATE KEY: lets nginx read them, a member of TLS_GID.
hand_over() {
  chgrp "$(setting TLS_GID)" "$2"
  chmod 640 "$2"
  chmod 644 "$1"
}
