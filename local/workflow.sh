#!/usr/bin/env bash
# Takes one video through a running PulseVault in ten steps, over its public HTTP API, and says what each step saw.
# Ends with status 1 if any step fails. Needs curl and ffmpeg, nothing else.
#
#   local/workflow.sh
#   BASE_URL=https://vault.example/prod AUTH='Authorization: Bearer KEY' local/workflow.sh
#
# BASE_URL     the server, with its PUBLIC_PATH if it has one          http://127.0.0.1:3000
# AUTH         a header sent with the calls that ask who is calling    none
# WAIT         seconds to wait for the transcoder                      120
# MEDIA_ROOT   the server's media folder, for a look at the files      the server's own default
# VIDEO_DIR    the folder of videos in it                              MEDIA_ROOT/videos
# METRICS_URL  where the metrics are                                   BASE_URL/metrics
set -u
LC_ALL=C
export LC_ALL # bytes are bytes, and sort and sed behave alike everywhere

BASE_URL=${BASE_URL:-http://127.0.0.1:3000}
BASE_URL=${BASE_URL%/}
WAIT=${WAIT:-120}
METRICS_URL=${METRICS_URL:-$BASE_URL/metrics}

case $BASE_URL in
  http://?* | https://?*) ;;
  *) echo "BASE_URL is '$BASE_URL'; it must begin with http:// or https://" >&2; exit 1 ;;
esac
rest=${BASE_URL#*://}
ORIGIN=${BASE_URL%%://*}://${rest%%/*}

for tool in curl ffmpeg; do
  command -v "$tool" >/dev/null 2>&1 || { echo "$tool is not installed" >&2; exit 1; }
done

T=$(mktemp -d "${TMPDIR:-/tmp}/pulsevault-workflow.XXXXXX") || exit 1
trap 'rm -rf "$T"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- what the steps are written in -----------------------------------------------------------------------------------

STEP=0
FAILED=" " # numbers of the steps that failed, with a space on either side of each

# step TITLE FUNCTION NEEDED...: runs one step, unless one that it builds on has failed.
step() {
  local title=$1 body=$2 need
  shift 2
  STEP=$((STEP + 1))
  printf '%2d. %s\n' "$STEP" "$title"
  for need in "$@"; do
    case $FAILED in *" $need "*)
      printf '    not run: step %d failed\n' "$need"
      FAILED="$FAILED$STEP "
      return ;;
    esac
  done
  "$body" || FAILED="$FAILED$STEP "
}

# shellcheck disable=SC2034 # it is for checks.sh
CALL_SECONDS=120
# shellcheck source=local/checks.sh
. "$(dirname "${BASH_SOURCE[0]}")/checks.sh"

# asking URL [CURL OPTIONS]: the same, saying who we are. The header stands in a file: command lines are read by everybody.
[ -z "${AUTH:-}" ] || printf '%s\n' "$AUTH" >"$T/auth"
asking() { if [ -n "${AUTH:-}" ]; then call "$@" -H "@$T/auth"; else call "$@"; fi; }

# text NAME: a string member of the JSON object in $T/body, leaving out what is in its arrays; number NAME: a number.
text() { flat | sed -n 's/.*"'"$1"'" *: *"\([^"]*\)".*/\1/p' | sed 's/\\u0026/\&/g; s/\\//g'; }
number() { flat | sed -n 's/.*"'"$1"'" *: *\(-\{0,1\}[0-9][0-9.eE+-]*\).*/\1/p'; }
flat() { tr -d '\r\n' <"$T/body" | sed 's/"[A-Za-z]*" *: *\[[^]]*\]//g'; echo; }

# resolve REFERENCE BASE: the URL that a reference found at BASE stands for.
resolve() {
  local base=${2%%\?*}
  case $1 in
    http://* | https://*) echo "$1" ;;
    /*) echo "$ORIGIN$1" ;;
    *) echo "${base%/*}/${1#./}" ;;
  esac
}

size() { wc -c <"$1" | tr -d ' '; }
sum() { cksum | cut -d ' ' -f 1,2; }

# sign PATH: leaves a URL of the video for it in URL.
sign() {
  asking "$BASE_URL/media/sign" -H 'Content-Type: application/json' \
    -d '{"videoId":"'"$VIDEO_ID"'","path":"'"$1"'"}'
  status 200 "POST /media/sign for $1" || return 1
  URL=$(text url)
  [ -n "$URL" ] || unlike "a url for $1" "$(answer)" || return 1
  URL=$(resolve "$URL" "$BASE_URL/")
}

# first_uri: the first URI of the playlist in $T/body.
first_uri() { tr -d '\r' <"$T/body" | grep -v '^#' | grep . | head -n 1; }

# --- the steps -------------------------------------------------------------------------------------------------------

health() {
  call "$BASE_URL/healthz"
  status 200 "GET $BASE_URL/healthz (is the server running? make run)" || return 1
  saw "healthz: $(answer)"
  call "$BASE_URL/readyz"
  status 200 "GET /readyz" || return 1
  saw "readyz:  $(answer)"
}

make_video() {
  ffmpeg -nostdin -v error -y -f lavfi -i testsrc2=size=640x360:rate=25:duration=8 \
    -f lavfi -i sine=frequency=440:sample_rate=48000:duration=8 \
    -c:v libx264 -preset veryfast -b:v 800k -maxrate 800k -bufsize 1600k -g 50 -pix_fmt yuv420p \
    -c:a aac -b:a 96k -movflags +faststart "$T/video.mp4" >"$T/ffmpeg" 2>&1 ||
    unlike "ffmpeg to make a test video" "$(head -n 3 "$T/ffmpeg")" || return 1
  SIZE=$(size "$T/video.mp4")
  saw "video.mp4: 8 s, 640x360, H.264 and AAC, $SIZE bytes"
}

create() {
  asking "$BASE_URL/uploads" -X POST -H 'Tus-Resumable: 1.0.0' -H "Upload-Length: $SIZE" \
    -H "Upload-Metadata: filename $(printf 'video.mp4' | base64 | tr -d '\n'),filetype $(printf 'video/mp4' | base64 | tr -d '\n')"
  status 201 "POST /uploads" || return 1
  local location
  location=$(header location)
  case $location in
    /*) ;;
    *) unlike "a Location that begins with /" "Location: $location" || return 1 ;;
  esac
  UPLOAD_URL=$(resolve "$location" "$BASE_URL/")
  UPLOAD_ID=${location##*/}
  saw "201, Location: $location"
}

# piece FILE OFFSET
piece() {
  asking "$UPLOAD_URL" -X PATCH -H 'Tus-Resumable: 1.0.0' -H "Upload-Offset: $2" \
    -H 'Content-Type: application/offset+octet-stream' -H 'Expect:' --data-binary "@$1"
  status 204 "PATCH $UPLOAD_URL at offset $2" || return 1
}

send() {
  local first=$((SIZE / 2))
  head -c "$first" "$T/video.mp4" >"$T/piece1"
  tail -c +$((first + 1)) "$T/video.mp4" >"$T/piece2"

  piece "$T/piece1" 0 || return 1
  same "Upload-Offset" "$first" "$(header upload-offset)" || return 1
  saw "first piece:  204, Upload-Offset: $first"

  asking "$UPLOAD_URL" -I -H 'Tus-Resumable: 1.0.0'
  status 200 "HEAD $UPLOAD_URL" || return 1
  same "Upload-Offset" "$first" "$(header upload-offset)" || return 1
  same "Upload-Length" "$SIZE" "$(header upload-length)" || return 1
  saw "HEAD:         200, Upload-Offset: $first of $SIZE"

  piece "$T/piece2" "$first" || return 1
  same "Upload-Offset" "$SIZE" "$(header upload-offset)" || return 1
  saw "second piece: 204, Upload-Offset: $SIZE"
}

finalize() {
  local user='"userId":"workflow",' # who says who they are may name nobody else
  [ -z "${AUTH:-}" ] || user=
  local body='{"uploadId":"'"$UPLOAD_ID"'","filename":"video.mp4",'"$user"'"metadata":{"source":"workflow"}}'
  asking "$BASE_URL/uploads/finalize" -H 'Content-Type: application/json' -d "$body"
  status 200 "POST /uploads/finalize" || return 1
  VIDEO_ID=$(text videoId)
  [ -n "$VIDEO_ID" ] || unlike "a videoId" "$(answer)" || return 1
  same "size" "$SIZE" "$(number size)" || return 1
  saw "$(answer)"

  asking "$BASE_URL/uploads/finalize" -H 'Content-Type: application/json' -d "$body"
  status 200 "POST /uploads/finalize a second time" || return 1
  same "videoId" "$VIDEO_ID" "$(text videoId)" || return 1
  saw "a second time: the same videoId"
}

in_place() {
  local root=${MEDIA_ROOT:-} dir told=${VIDEO_DIR:-${MEDIA_ROOT:-}}
  if [ -z "$root" ]; then
    if [ -d /mnt/media ] && [ -w /mnt/media ]; then root=/mnt/media; else root=${TMPDIR:-/tmp}/pulsevault-test; fi
  fi
  dir=${VIDEO_DIR:-${root%/}/videos}

  if [ -d "$dir/$VIDEO_ID" ] && [ -x "$dir/$VIDEO_ID" ]; then
    in_folder "$dir/$VIDEO_ID"
  elif [ -n "$told" ] && [ -d "$dir" ] && [ -x "$dir" ]; then
    unlike "the folder $dir/$VIDEO_ID" "no such folder"
  else
    saw "$dir/$VIDEO_ID is not to be seen from here (another machine, or the server has its own MEDIA_ROOT): asking over HTTP"
    over_http
  fi
}

# in_folder DIR
in_folder() {
  local marks
  [ -f "$1/original.mp4" ] || unlike "$1/original.mp4" "$(ls "$1")" || return 1
  same "original.mp4 with checksum and size" "$(sum <"$T/video.mp4")" "$(sum <"$1/original.mp4")" || return 1
  [ -f "$1/meta.json" ] || unlike "$1/meta.json" "$(ls "$1")" || return 1
  marks=$(grep -o '"status":"' "$1/meta.json" | wc -l | tr -d ' ')
  same 'in meta.json, times that "status":" stands there:' 1 "$marks" || return 1
  saw "$1/original.mp4: the $SIZE bytes that were sent"
  saw "$1/meta.json: $(grep -o '"status":"[a-z_]*"' "$1/meta.json")"
}

over_http() {
  sign original.mp4 || return 1
  call "$URL" -I
  status 200 "HEAD original.mp4" || return 1
  # An API Gateway renames it, for the answer to HEAD has no such length.
  same "Content-Length" "$SIZE" "$(header content-length)$(header x-amzn-remapped-content-length)" || return 1
  call "$URL"
  same "original.mp4 with checksum and size" "$(sum <"$T/video.mp4")" "$(sum <"$T/body")" || return 1
  saw "original.mp4: the $SIZE bytes that were sent"
  sign metadata || return 1
  call "$URL"
  status 200 "GET metadata" || return 1
  [ -n "$(text status)" ] || unlike 'a "status" in the metadata' "$(answer)" || return 1
  saw "metadata: \"status\":\"$(text status)\""
}

transcoded() {
  local metadata renditions state line last='' until=$((SECONDS + WAIT))
  sign metadata && metadata=$URL && sign renditions && renditions=$URL || return 1
  while :; do
    call "$metadata"
    if [ "$CODE" = 401 ]; then # the link has run out
      sign metadata && metadata=$URL && sign renditions && renditions=$URL || return 1
      continue
    fi
    status 200 "GET metadata" || return 1
    state=$(text status)
    case $state in
      transcoded) break ;;
      transcode_failed) unlike "status transcoded" "transcode_failed: $(text transcodeError)" || return 1 ;;
    esac
    call "$renditions"
    status 200 "GET renditions" || return 1
    line="$state; renditions $(text status), progress $(number progress)"
    [ "$line" = "$last" ] || saw "$line"
    last=$line
    [ "$SECONDS" -lt "$until" ] || unlike "status transcoded within $WAIT s (is a worker running? WAIT=300 waits longer)" "$line" || return 1
    sleep 1
  done
  call "$renditions"
  status 200 "GET renditions" || return 1
  same "renditions with status" ready "$(text status)" || return 1
  saw "transcoded; renditions ready: $(head -c 400 "$T/body")"
}

sign_link() {
  sign hls/master.m3u8 || return 1
  [ -n "$(text token)" ] || unlike "a token" "$(answer)" || return 1
  [ -n "$(text expiresAt)" ] || unlike "expiresAt" "$(answer)" || return 1
  MASTER=$URL
  saw "url:       $(text url)"
  saw "token:     $(text token)"
  saw "expiresAt: $(text expiresAt)"
}

# playlist NAME URL: gets one and checks that it is one.
playlist() {
  call "$2"
  status 200 "GET $1" || return 1
  same "$1 to begin with" '#EXTM3U' "$(head -n 1 "$T/body" | tr -d '\r')" || return 1
  [ -n "$(first_uri)" ] || unlike "a URI in $1" "$(answer)" || return 1
}

stream() {
  local variant segment bytes mark
  playlist "the master playlist" "$MASTER" || return 1
  saw "master:  $(header content-type), $(grep -c '^#EXT-X-STREAM-INF' "$T/body" | tr -d ' ') variants"
  variant=$(resolve "$(first_uri)" "$MASTER")
  playlist "a variant playlist" "$variant" || return 1
  saw "variant: ${variant%%\?*}, $(grep -c '^#EXTINF' "$T/body" | tr -d ' ') segments"

  segment=$(resolve "$(first_uri)" "$variant")
  call "$segment"
  status 200 "GET a segment" || return 1
  bytes=$(size "$T/body")
  [ "$bytes" -gt 0 ] || unlike "a segment of more than 0 bytes" "0 bytes" || return 1
  mark=$(od -An -tx1 -N1 "$T/body" | tr -d ' ')
  same "segment to begin with byte" 47 "$mark" || return 1
  saw "segment: ${segment%%\?*}, $(header content-type), $bytes bytes, first byte 0x$mark"

  call "${MASTER%%\?*}"
  status 401 "the master playlist without a token" || return 1
  saw "without a token: 401"
  play
}

# play: ffmpeg decodes every variant from beginning to end.
play() {
  local seconds
  if ! ffmpeg -nostdin -hide_banner -v level+warning -progress "$T/played" -i "$MASTER" \
    -map 0:v -map '0:a?' -f null - >/dev/null 2>"$T/ffmpeg" || grep -qE '\[(error|fatal|panic)\]' "$T/ffmpeg"; then
    unlike "ffmpeg to play the stream without an error" "$(head -n 5 "$T/ffmpeg")" || return 1
  fi
  seconds=$(awk -F = '$1 == "out_time_us" || $1 == "out_time_ms" { s = $2 / 1000000 } END { printf "%.1f", s }' "$T/played")
  awk -v s="$seconds" 'BEGIN { exit !(s >= 7.5 && s <= 8.8) }' || unlike "8 s of video to be played" "$seconds s" || return 1
  saw "played by ffmpeg: $seconds s of every variant, $(grep -c . "$T/ffmpeg" | tr -d ' ') warnings"
  sed 's/^/    /' "$T/ffmpeg"
}

# sum_of PATTERN: all samples of $T/body whose name and labels match.
sum_of() { awk -v p="$1" '!/^#/ && $0 ~ p { s += $NF } END { printf "%d", s }' "$T/body"; }

metrics() {
  local uploads transcodes all_uploads all_transcodes
  call "$METRICS_URL"
  status 200 "GET $METRICS_URL (where a proxy does not publish it, set METRICS_URL)" || return 1
  uploads=$(sum_of '^pulsevault_uploads_total[{ ]')
  transcodes=$(sum_of '^pulsevault_transcodes_total[{].*result="success"')
  # Another process may have taken the upload or run the transcoder; the totals in Redis count them all.
  all_uploads=$(sum_of '^pulsevault_all_uploads_completed_total[{ ]')
  all_transcodes=$(sum_of '^pulsevault_all_transcodes_success_total[{ ]')
  saw "this process:  pulsevault_uploads_total $uploads, pulsevault_transcodes_total{result=\"success\"} $transcodes"
  saw "all processes: $all_uploads uploads completed, $all_transcodes transcodes succeeded"
  [ "$uploads" -gt 0 ] || [ "$all_uploads" -gt 0 ] || unlike "1 or more uploads counted" "0" || return 1
  [ "$transcodes" -gt 0 ] || [ "$all_transcodes" -gt 0 ] || unlike "1 or more successful transcodes counted" "0" || return 1
}

echo "PulseVault at $BASE_URL"
step "Health" health
step "Make a test video" make_video
step "Create an upload" create 1 2
step "Send it in two pieces" send 3
step "Finalize it, twice" finalize 4
step "Files in place" in_place 5
step "Wait for the transcoder" transcoded 5
step "Sign a link" sign_link 5
step "Stream it" stream 7 8
step "Metrics" metrics 1

if [ "$FAILED" = " " ]; then
  echo "All 10 steps passed."
else
  echo "Failed:${FAILED% }"
  exit 1
fi
