# shellcheck shell=bash
# What the steps of workflow.sh and the checks of infrastructure.sh are written in. They set T, a folder of their own, and
# CALL_SECONDS, which one request may take, and source this.

saw() { printf '    %s\n' "$*"; }

# unlike EXPECTED SEEN: reports a failure, and is one.
unlike() {
  printf '    FAILED: expected %s\n            saw      %s\n' "$1" "${2:-nothing}"
  return 1
}

# same WHAT EXPECTED SEEN
same() { [ "$2" = "$3" ] || unlike "$1 $2" "$3"; }

# call URL [CURL OPTIONS]: leaves the status in CODE, the answer in $T/head and $T/body.
call() {
  local url=$1
  shift
  : >"$T/head"
  : >"$T/body"
  CODE=$(curl -sS --connect-timeout 10 --max-time "$CALL_SECONDS" -o "$T/body" -D "$T/head" -w '%{http_code}' "$@" "$url" 2>"$T/curl")
  [ "$CODE" != 000 ] || CODE="no answer ($(head -n 1 "$T/curl"))"
}

# answer: status and the beginning of the body, for a report.
answer() { printf 'HTTP %s %s' "$CODE" "$(head -c 300 "$T/body" | tr -s '\r\n\t' ' ')"; }

# status EXPECTED WHAT
status() { [ "$CODE" = "$1" ] || unlike "HTTP $1 from $2" "$(answer)"; }

# header NAME (in lower case)
header() {
  tr -d '\r' <"$T/head" | awk -v name="$1:" 'tolower($1) == name { sub(/^[^:]*:[ \t]*/, ""); v = $0 } END { print v }'
}
