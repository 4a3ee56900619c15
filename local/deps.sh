#!/bin/sh
# Installs the programs it is given where they are missing, by apt, dnf, apk, pacman or brew; where it cannot, says
# exactly what to install and ends with status 1. When everything is there it runs nothing. With -n it only says what it
# would do.
#   local/deps.sh [-n] ffmpeg ffprobe redis-server
# shellcheck disable=SC2046,SC2086,SC2116 # lists of words are split on purpose
set -eu

dry=
if [ "${1:-}" = -n ]; then dry=yes; shift; fi

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

# manager: what installs packages here; nothing if there is none that we know.
manager() {
  for m in apt-get dnf apk pacman brew; do
    if command -v $m >/dev/null 2>&1; then echo ${m%-get}; return; fi
  done
}

# package PROGRAM: what it comes in; nothing if there is no manager, or it has none that would do.
package() {
  case $1,$manager in
    *,) ;;
    go,*) ;; # which Go to install is not ours to choose
    ffmpeg,dnf | ffprobe,dnf) if rpm_fusion; then echo ffmpeg; fi ;; # Fedora's own ffmpeg-free has no libx264
    ffprobe,*) echo ffmpeg ;;
    redis-server,dnf) echo /usr/bin/redis-server ;; # in redis or valkey-compat-redis, as the release has it
    redis-server,apk) echo cmd:redis-server ;;      # in redis or valkey-compat
    redis-server,pacman) echo valkey ;;             # with links of Redis's names
    redis-server,brew) echo redis ;;
    cc,apt) echo gcc libc6-dev ;;
    cc,apk) echo build-base ;;
    cc,brew) ;;
    cc,*) echo gcc ;;
    *) echo "$1" ;;
  esac
}

rpm_fusion() { dnf -q repolist --enabled 2>/dev/null | grep -q '^rpmfusion-free'; }

# missing PROGRAM...: those that are not there.
missing() { for p in "$@"; do there "$p" || echo "$p"; done; }

# unknown PROGRAM...: those that have no package.
unknown() { for p in "$@"; do [ -n "$(package "$p")" ] || echo "$p"; done; }

# packages PROGRAM...: their packages, each once.
packages() { for p in "$@"; do package "$p"; done | tr ' ' '\n' | sort -u | tr '\n' ' ' | sed 's/ *$//'; }

# steps PACKAGE...: the commands that install them, one a line.
steps() {
  case $manager in
    apt) echo "apt-get -q -y update" # a list that cannot be refreshed may still do
      echo "env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 install $*" ;;
    dnf) echo "dnf -q -y --setopt=install_weak_deps=False install $*" ;;
    apk) echo "apk add --no-cache $*" ;;
    pacman) echo "pacman -S --needed --noconfirm $*" ;;
    brew) echo "brew install -q $*" ;;
  esac
}

# prefix: what lets a command run as root. It may ask for a password only where somebody can answer. Status 1 if there is
# no way.
prefix() {
  if [ "$manager" = brew ] || [ "$(id -u)" = 0 ]; then return; fi
  for p in sudo doas; do
    if ! command -v $p >/dev/null 2>&1; then continue; fi
    if [ -t 0 ] || [ -n "$dry" ]; then echo $p; else echo $p -n; fi
    return
  done
  return 1
}

# install PACKAGE...: runs the steps, or says them. Whether they were enough is seen by what is there afterwards.
install() {
  if root=$(prefix); then :; else
    echo "Installing needs root, and there is neither sudo nor doas here. Run this as root, then try again:"
    steps "$@" | sed 's/^/  /'
    return
  fi
  [ -n "$dry" ] || echo "installing $* ($manager)"
  commands=$(steps "$@")
  IFS='
'
  for step in $commands; do
    unset IFS
    if [ -n "$dry" ]; then echo "would run: ${root:+$root }$step"
    else $root $step || true; fi
  done
  unset IFS
}

rpm_fusion_hint="RPM Fusion has it: dnf install https://mirrors.rpmfusion.org/free/fedora/rpmfusion-free-release-\$(rpm -E %fedora).noarch.rpm
    (on RHEL and its kin EPEL first, and then free/el/rpmfusion-free-release-\$(rpm -E %rhel).noarch.rpm)"

# by_hand PROGRAM: how people install it themselves.
by_hand() {
  case $1,$manager in
    go,*) echo "  Go 1.26 or newer: https://go.dev/dl" ;;
    cc,*) echo "  a C compiler (for the race detector): apt-get install gcc libc6-dev, dnf install gcc, apk add build-base, pacman -S gcc, or xcode-select --install, or make test RACE=" ;;
    ffmpeg,dnf) echo "  ffmpeg with ffprobe and libx264, which Fedora's own ffmpeg-free lacks. $rpm_fusion_hint
    Then again what you were doing." ;;
    ffmpeg,*) echo "  ffmpeg with ffprobe: apt-get install ffmpeg, apk add ffmpeg, pacman -S ffmpeg, or brew install ffmpeg, or https://ffmpeg.org/download.html" ;;
    ffprobe,*) ;; # comes with ffmpeg
    redis-server,*) echo "  Redis 7 or newer, or Valkey by Redis's names: apt-get install redis-server, dnf install /usr/bin/redis-server, apk add cmd:redis-server, pacman -S valkey, or brew install redis" ;;
    *) echo "  $1: your system's package of that name" ;;
  esac
}

# give_up PROGRAM...: says what is missing, and how to come by it.
give_up() {
  echo "Missing: $*" >&2
  for p in "$@"; do by_hand "$p"; done >&2
  [ -n "$dry" ] || exit 1
}

manager=$(manager)
want=$(missing "$@")
if [ -n "$want" ]; then
  can=$(packages $want)
  [ -z "$can" ] || install $can
  if [ -z "$dry" ]; then want=$(missing "$@"); else want=$(unknown $want); fi
  [ -z "$want" ] || give_up $want
elif [ -n "$dry" ]; then
  echo "nothing to install: $* are there"
fi

# Some distributions leave H.264 out of their ffmpeg.
case " $* " in
  *" ffmpeg "*)
    if there ffmpeg && ! ffmpeg -hide_banner -encoders 2>/dev/null </dev/null | grep -q libx264; then
      echo "This ffmpeg ($(command -v ffmpeg)) has no libx264 encoder: install a full build, from https://ffmpeg.org/download.html or RPM Fusion." >&2
      [ "$manager" != dnf ] || echo "  $rpm_fusion_hint
    Then: dnf swap ffmpeg-free ffmpeg --allowerasing" >&2
      [ -n "$dry" ] || exit 1
    fi ;;
esac
