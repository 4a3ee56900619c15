#!/bin/sh
# Installs the programs it is given where they are missing, by apt or brew; where it cannot, says exactly what to
# install and ends with status 1. When everything is there it runs nothing.
#   local/deps.sh ffmpeg ffprobe redis-server
# shellcheck disable=SC2046,SC2086,SC2116 # lists of words are split on purpose
set -eu

# there PROGRAM: is it on this machine, and fit for use?
there() {
  case $1 in
    go) case $("${GO:-go}" env GOVERSION 2>/dev/null || true) in
        go1.?.* | go1.1?* | go1.20* | "") false ;; # these cannot fetch the Go that go.mod asks for
        *) true ;;
      esac ;;
    cc) command -v "$(cc_name)" >/dev/null 2>&1 ;;
    *) command -v "$1" >/dev/null 2>&1 ;;
  esac
}

# cc_name: the C compiler that Go would call.
cc_name() { set -- $("${GO:-go}" env CC 2>/dev/null || true); echo "${1:-gcc}"; }

# package MANAGER PROGRAM: what the program comes in.
package() {
  case $2,$1 in
    ffprobe,*) echo ffmpeg ;;
    redis-server,brew) echo redis ;;
    cc,apt) echo gcc libc6-dev ;;
    *) echo "$2" ;;
  esac
}

# missing PROGRAM...: those that are not there.
missing() { for p in "$@"; do there "$p" || echo "$p"; done; }

# packages MANAGER PROGRAM...: their packages, each once.
packages() { m=$1; shift; for p in "$@"; do package "$m" "$p"; done | tr ' ' '\n' | sort -u | tr '\n' ' '; }

# as_root COMMAND...: with sudo where we are not root. It may ask for a password only where somebody can answer.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif ! command -v sudo >/dev/null 2>&1; then return 1
  elif [ -t 0 ]; then sudo "$@"
  else sudo -n "$@"; fi
}

give_up() {
  echo "Missing: $*" >&2
  for p in "$@"; do
    case $p in
      go) echo "  Go 1.26 or newer: https://go.dev/dl" ;;
      cc) echo "  a C compiler (for the race detector): apt-get install gcc libc6-dev, or xcode-select --install, or make test RACE=" ;;
      ffmpeg) echo "  ffmpeg with ffprobe: apt-get install ffmpeg, or brew install ffmpeg, or https://ffmpeg.org/download.html" ;;
      ffprobe) ;; # comes with ffmpeg
      redis-server) echo "  Redis 7 or newer: apt-get install redis-server, or brew install redis" ;;
      curl) echo "  curl: apt-get install curl, or brew install curl" ;;
      *) echo "  $p" ;;
    esac
  done >&2
  exit 1
}

want=$(missing "$@")
if [ -n "$want" ]; then
  case " $(echo $want) " in *" go "*) give_up $want ;; esac # which Go to install is not ours to choose
  if command -v apt-get >/dev/null 2>&1; then
    list=$(packages apt $want)
    echo "installing $list(apt)"
    # A list that cannot be refreshed may still do.
    as_root apt-get -q -y update || true
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 install $list || true
  elif command -v brew >/dev/null 2>&1; then
    list=$(packages brew $want)
    case " $list" in *" cc "*) give_up $want ;; esac
    echo "installing $list(brew)"
    brew install -q $list || true
  fi
  want=$(missing "$@")
  [ -z "$want" ] || give_up $want
fi

# Some distributions leave H.264 out of their ffmpeg.
case " $* " in
  *" ffmpeg "*)
    if ! ffmpeg -hide_banner -encoders 2>/dev/null </dev/null | grep -q libx264; then
      echo "This ffmpeg ($(command -v ffmpeg)) has no libx264 encoder: install a full build, from https://ffmpeg.org/download.html or RPM Fusion." >&2
      exit 1
    fi ;;
esac
