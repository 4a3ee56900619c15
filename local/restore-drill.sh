#!/usr/bin/env bash
# Shows that the newest backup can be restored: verifies it, brings it back into a scratch folder, starts a server on that with
# an embedded Redis on a free port of 127.0.0.1, plays a video, verifies the audit log, and says what it saw. The store that is
# in use is not touched. Ends with status 1 if any step fails.
#
#   local/restore-drill.sh /mnt/backup
#
# PULSEVAULT  the command                                                 bin/pulsevault, or pulsevault on PATH
# SCRATCH     where the folder is made; it needs the room of the store    TMPDIR or /tmp
# AUDIT_KEY   the public key that the auditor keeps                       the one that the backup names
set -u
SOURCE=${1:?usage: local/restore-drill.sh FOLDER-OF-SNAPSHOTS}
PULSEVAULT=${PULSEVAULT:-$(command -v bin/pulsevault || command -v pulsevault)} || { echo "pulsevault is not there: set PULSEVAULT" >&2; exit 1; }
PULSEVAULT=$(cd "$(dirname "$PULSEVAULT")" && pwd)/$(basename "$PULSEVAULT")
SOURCE=$(cd "$SOURCE" && pwd) || exit 1
for tool in curl ffmpeg; do command -v "$tool" >/dev/null || { echo "$tool is not installed" >&2; exit 1; }; done

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
own() { env -i PATH="$PATH" TMPDIR="$T" MEDIA_ROOT="$T/store" HOST=127.0.0.1 PORT=0 WORKER_CONCURRENCY=0 TRANSCODE_ENABLED=false "$@"; }

echo "1. verify $SOURCE"
own "$PULSEVAULT" backup verify ${AUDIT_KEY:+--key "$AUDIT_KEY"} "$SOURCE" >"$T/verify" 2>&1 || { cat "$T/verify" >&2; fail "the backup is damaged"; }
grep -E '^(snapshot|holds|The audit)' "$T/verify" | sed 's/^/   /'

echo "2. restore into a scratch folder"
own "$PULSEVAULT" restore "$SOURCE" >"$T/restore" 2>&1 || { cat "$T/restore" >&2; fail "restore"; }
grep '^restored' "$T/restore" | sed 's/^/   /'

echo "3. start a server on it"
own "$PULSEVAULT" serve >"$T/log" 2>&1 &
SERVER=$!
URL=
for _ in $(seq 300); do
  URL=$(sed -n 's/.*is serving on http:\/\/localhost:\([0-9]*\).*/http:\/\/127.0.0.1:\1/p' "$T/log")
  [ -n "$URL" ] && break
  kill -0 "$SERVER" 2>/dev/null || break
  sleep 0.1
done
[ -n "$URL" ] || { cat "$T/log" >&2; fail "the server does not start"; }
curl -sf "$URL/readyz" >"$T/ready" || fail "the server is not ready"
echo "   $URL: $(cat "$T/ready")"

echo "4. play the newest video that can be played"
VIDEO=$(find "$T/store/videos" -path '*/hls/master.m3u8' | sed 's|/hls/master.m3u8$||; s|.*/||' | sort | tail -n 1)
if [ -z "$VIDEO" ]; then
  echo "   the backup holds no video that can be played"
else
  LINK=$(curl -sf "$URL/media/sign" -d "{\"videoId\":\"$VIDEO\",\"path\":\"hls/master.m3u8\"}" | sed 's/.*"url":"\([^"]*\)".*/\1/')
  [ -n "$LINK" ] || fail "no link for video $VIDEO"
  ffmpeg -nostdin -v error -i "$URL$LINK" -f null - >"$T/play" 2>&1 || { head -n 5 "$T/play" >&2; fail "video $VIDEO does not play"; }
  echo "   video $VIDEO plays to its end"
fi

echo "5. verify the audit log that goes on"
KEY=${AUDIT_KEY:-$(head -n 1 "$(sed -n 's/^snapshot *//p' "$T/verify")/manifest" | sed -n 's/.*"auditKey":"\([^"]*\)".*/\1/p')}
own "$PULSEVAULT" audit verify --key "$KEY" --key "$(own "$PULSEVAULT" audit key)" >"$T/audit" 2>&1 || { cat "$T/audit" >&2; fail "the audit log"; }
sed 's/^/   /' "$T/audit" | grep -v ' note '
echo "the drill passed"
