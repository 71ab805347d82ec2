#!/bin/sh
# Install what tests/pooler.py runs before its servers: PgBouncer.
#
# usage: scripts/pooler.sh FOLDERS
#
# It is the one of $OSTLER_PGBOUNCER, of the PATH or of FOLDERS (with colons between), else Debian's package, installed by
# apt-get when run as root. That brings a service of the system along, which is switched off again: the tests start their
# own. Nothing of it is part of Ostler: it is for the tests alone.
set -eu
. "${0%/*}/installing.sh"

[ $# -eq 1 ] || fail "usage: scripts/pooler.sh FOLDERS"
without="or run the tests without a pooler: make test WITHOUT_POOLER=1"
told=${OSTLER_PGBOUNCER:-}

if [ -n "$told" ]; then
  [ -x "$told" ] || fail "OSTLER_PGBOUNCER is no program: $told; mend it or leave it away, $without"
elif ! (PATH=$PATH:$1 && command -v pgbouncer >/dev/null); then
  debian "Going to PostgreSQL through a pooler" "$without" pgbouncer
  if systemctl --quiet is-active pgbouncer.service 2>/dev/null; then
    systemctl --quiet disable --now pgbouncer.service ||
      say "Its service goes on; the tests do not need it: \`systemctl disable --now pgbouncer\` ends it"
  fi
fi
