#!/bin/sh
# curl: `curl.sh stay|alone URL [CURL OPTIONS...]`. Writes events as they come, with the bytes that
# they have. TICKET_URL and TICKET_HEADER make it ask for a ticket before each connection.

ticket() {
  [ -z "$TICKET_URL" ] && return
  curl -sS -X POST -H "$TICKET_HEADER" "$TICKET_URL" | sed 's/.*"ticket":"\([^"]*\)".*/\&ticket=\1/'
}

# example
# follow URL [CURL OPTIONS...]: writes whole events, and goes on after the last one when it is cut.
follow() {
  url=$1
  shift
  cursor='' retry=3000
  head=$(mktemp) heard=$(mktemp)
  while :; do
    # sed holds an event back until its blank line has come.
    curl -sSN -D "$head" -H 'Accept: text/event-stream' \
      ${cursor:+-H "Last-Event-ID: $cursor"} "$@" "$url$(ticket)" |
      sed -un 'H;/^$/{x;s/^\n//;p;s/.*//;x}' | tee "$heard"
    case $(sed -n '1s/^[^ ]* \(...\).*/\1/p' "$head") in
      200 | '') ;;
      429 | 503) retry=$(sed -n 's/^[Rr]etry-[Aa]fter: \([0-9]*\).*/\1000/p' "$head") ;;
      *) break ;;
    esac
    last=$(sed -n 's/^id: //p' "$heard" | tail -n 1)
    cursor=${last:-$cursor}
    pause=$(sed -n 's/^retry: //p' "$heard" | tail -n 1)
    retry=${pause:-$retry}
    sleep "$((retry / 1000)).$(printf %03d $((retry % 1000)))"
  done
  rm -f "$head" "$heard"
}
# end of the example

way=$1
shift
if [ "$way" = alone ]; then
  exec curl -sSN --fail-with-body "$@"
fi
follow "$@"
