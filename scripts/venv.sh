#!/bin/sh
# Bring a virtual environment up to its locks, starting from nothing but a Python.
#
# usage: scripts/venv.sh FOLDER LOCK...
#
# Takes the interpreter from $PYTHON, else the first of python3.13, python3.12, python3.11, python3 that is 3.11 or later
# and can make environments. Everything is installed by exact version and hash. What is there already is kept.
set -eu
. "${0%/*}/installing.sh"

# 0: usable; 1: not there or older than 3.11; 2: recent enough, but without the part of venv that Debian packages apart.
probe() {
  "$1" - <<'PY' 2>/dev/null || return $?
import sys
if sys.version_info < (3, 11):
    sys.exit(1)
try:
    import ensurepip, venv
    ensurepip.version()
except (ImportError, AttributeError):
    sys.exit(2)
PY
}

find_python() {
  candidates=${PYTHON:-python3.13 python3.12 python3.11 python3}
  without_venv=
  for candidate in $candidates; do
    code=0
    probe "$candidate" || code=$?
    case $code in
      0) printf '%s' "$candidate"; return ;;
      2) without_venv=${without_venv:-$candidate} ;;
    esac
  done
  [ -n "$without_venv" ] || fail "Python 3.11 or later is needed; none of these is: $candidates (name one with PYTHON=...)"
  add_venv_module "$without_venv" >&2
  printf '%s' "$without_venv"
}

# Debian and Ubuntu keep ensurepip in a package of its own.
add_venv_module() {
  package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
  debian "$1 has no ensurepip and" "" "$package"
  probe "$1" || fail "$1 still cannot make environments after installing $package"
}

[ $# -ge 2 ] || fail "usage: scripts/venv.sh FOLDER LOCK..."
folder=$1
shift

# An environment whose interpreter has gone, or that was left without pip half-way, is made anew.
if ! "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
  python=$(find_python)
  say "Making $folder with $("$python" --version) ..."
  "$python" -m venv --clear "$folder"
  printf '*\n' >"$folder/.gitignore"
fi

for lock in "$@"; do
  say "Bringing $folder up to $lock ($(grep -c '^[a-z].*==' "$lock") packages; the first time they are downloaded) ..."
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --progress-bar off \
    --require-hashes --requirement "$lock" ||
    fail "pip could not install $lock into $folder, see above; nothing else was changed, run it again when that is mended"
done
