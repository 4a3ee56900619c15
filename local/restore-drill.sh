#!/usr/bin/env bash
# Shows that the newest backup can be restored: verifies it, brings it back into a scratch folder, compares every original with
# its record's checksum, starts a server on that with an embedded Redis on a free port of 127.0.0.1, plays a video, verifies the
# audit log, and says what it saw. The store that is in use is not touched. Ends with status 1 if any step fails.
#
#   local/restore-drill.sh /mnt/backup
#   local/restore-drill.sh --stack /mnt/backup    (make restore-drill BACKUP=/mnt/backup)
#       in a container of its own, made of the image of the stack's workers, which has all that is needed: it has no network, only
#       reads the backup, and its volume is gone when it ends
#
# PULSEVAULT  the command                                                 bin/pulsevault, or pulsevault on PATH
# SCRATCH     where the folder is made; it needs the room of the store    TMPDIR or /tmp; with --stack a volume of Docker, else a
#             folder that user 10001 owns
# AUDIT_KEY   the public key that the auditor keeps                       the one that the backup names
set -u

# in_container FOLDER: runs this script again, inside.
in_container() {
  local here source
  source=$(realpath -- "$1") || exit 1
  cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
  here=$PWD/local/restore-drill.sh
  # shellcheck source=local/env.sh
  . local/env.sh
  exec docker run --rm --init --network none --read-only --cap-drop ALL --security-opt no-new-privileges --memory 2g --tmpfs /tmp:size=64m \
    --volume "${SCRATCH:+$SCRATCH:}/media" --volume "$source:/backup:ro" --volume "$here:/restore-drill.sh:ro" \
    --env SCRATCH=/media --env AUDIT_KEY="${AUDIT_KEY:-}" --entrypoint bash "pulsevault-worker:$(setting VERSION dev)" /restore-drill.sh /backup
}
if [ "${1:-}" = --stack ]; then
  in_container "${2:?usage: local/restore-drill.sh --stack FOLDER-OF-SNAPSHOTS}"
fi

SOURCE=${1:?usage: local/restore-drill.sh [--stack] FOLDER-OF-SNAPSHOTS}
PULSEVAULT=${PULSEVAULT:-$(command -v bin/pulsevault || command -v pulsevault)} || { echo "pulsevault is not there: set PULSEVAULT" >&2; exit 1; }
PULSEVAULT=$(cd "$(dirname "$PULSEVAULT")" && pwd)/$(basename "$PULSEVAULT")
SOURCE=$(cd "$SOURCE" && pwd) || exit 1
command -v ffmpeg >/dev/null || { echo "ffmpeg is not installed" >&2; exit 1; }

T=$(mktemp -d "${SCRATCH:-${TMPDIR:-/tmp}}/pulsevault-drill.XXXXXX") || exit 1
SERVER=
end() {
  [ -z "$SERVER" ] || { kill "$SERVER" 2>/dev/null; wait "$SERVER" 2>/dev/null; }
  rm -rf "$T"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$T" || exit 1 # where no .env is

fail() { echo "FAILED: $*" >&2; exit 1; }
# Nothing of the installation's settings: the drill must not come near its folders or its Redis.
OWN=(env -i PATH="$PATH" TMPDIR="$T" MEDIA_ROOT="$T/store" HOST=127.0.0.1 PORT=0 WORKER_CONCURRENCY=0 TRANSCODE_ENABLED=false)
own() { "${OWN[@]}" "$@"; }

# ask METHOD PATH [BODY]: prints the answer's body, if it is 200. An image for videos has no curl.
ask() {
  local body=${3:-} line status
  exec 3<>"/dev/tcp/127.0.0.1/$PORT" || return 1
  printf '%s %s HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s' "$1" "$2" "${#body}" "$body" >&3
  read -r _ status _ <&3
  while read -r line <&3 && [ "$line" != $'\r' ]; do :; done
  cat <&3
  exec 3>&-
  [ "$status" = 200 ]
}

# checksums: says how many originals are what their records say; fails at one that is not. A video that is being made has a record
# before it has an original.
checksums() {
  local record dir want n=0
  for record in "$T"/store/videos/*/meta.json; do
    dir=${record%/*}
    [ -e "$record" ] || break
    want=$(sed -n 's/.*"originalChecksum":"\([0-9a-f]*\)".*/\1/p' "$record")
    [ "$(sha256sum <"$dir/original.mp4" | cut -d ' ' -f 1)" = "$want" ] || { echo "${dir##*/} is not what its record says" >&2; return 1; }
    n=$((n + 1))
  done
  echo "   $n originals, each with the SHA-256 of its record"
}

echo "1. verify $SOURCE"
own "$PULSEVAULT" backup verify ${AUDIT_KEY:+--key "$AUDIT_KEY"} "$SOURCE" >"$T/verify" 2>&1 || { cat "$T/verify" >&2; fail "the backup is damaged"; }
grep -E '^(snapshot|holds|The audit)' "$T/verify" | sed 's/^/   /'

echo "2. restore into a scratch folder"
own "$PULSEVAULT" restore "$SOURCE" >"$T/restore" 2>&1 || { cat "$T/restore" >&2; fail "restore"; }
grep '^restored' "$T/restore" | sed 's/^/   /'

echo "3. compare the originals with their records"
checksums || fail "the originals"

echo "4. start a server on it"
"${OWN[@]}" "$PULSEVAULT" serve >"$T/log" 2>&1 & # no function: the process that is ended must be the server itself
SERVER=$!
PORT=
for _ in $(seq 300); do
  PORT=$(sed -n 's/.*is serving on http:\/\/localhost:\([0-9]*\).*/\1/p' "$T/log")
  [ -n "$PORT" ] && break
  kill -0 "$SERVER" 2>/dev/null || break
  sleep 0.1
done
[ -n "$PORT" ] || { cat "$T/log" >&2; fail "the server does not start"; }
ask GET /readyz >"$T/ready" || fail "the server is not ready"
echo "   http://127.0.0.1:$PORT: $(cat "$T/ready")"

echo "5. play the newest video that can be played"
VIDEO=$(find "$T/store/videos" -path '*/hls/master.m3u8' | sed 's|/hls/master.m3u8$||; s|.*/||' | sort | tail -n 1)
if [ -z "$VIDEO" ]; then
  echo "   the backup holds no video that can be played"
else
  LINK=$(ask POST /media/sign "{\"videoId\":\"$VIDEO\",\"path\":\"hls/master.m3u8\"}" | sed 's/.*"url":"\([^"]*\)".*/\1/')
  [ -n "$LINK" ] || fail "no link for video $VIDEO"
  ffmpeg -nostdin -v error -i "http://127.0.0.1:$PORT$LINK" -f null - >"$T/play" 2>&1 || { head -n 5 "$T/play" >&2; fail "video $VIDEO does not play"; }
  echo "   video $VIDEO plays to its end"
fi

echo "6. verify the audit log that goes on"
KEY=${AUDIT_KEY:-$(head -n 1 "$(sed -n 's/^snapshot *//p' "$T/verify")/manifest" | sed -n 's/.*"auditKey":"\([^"]*\)".*/\1/p')}
own "$PULSEVAULT" audit verify --key "$KEY" --key "$(own "$PULSEVAULT" audit key)" >"$T/audit" 2>&1 || { cat "$T/audit" >&2; fail "the audit log"; }
sed 's/^/   /' "$T/audit" | grep -v ' note '
echo "the drill passed"
