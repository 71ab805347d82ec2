#!/bin/sh
# Install the real llama.cpp engine into an environment of its own, so that Ostler's stays small.
#
# usage: scripts/engine.sh FOLDER
#
# llama.cpp is compiled from its hash-checked source package once; the wheel is kept in $OSTLER_WHEELS (default:
# ${XDG_CACHE_HOME:-~/.cache}/ostler/wheels). It is compiled for this machine's processor: do not share that folder
# with an older one. Needs cmake and a C++ compiler, which are installed by apt-get when run as root.
set -eu
. "${0%/*}/installing.sh"

[ $# -eq 1 ] || fail "usage: scripts/engine.sh FOLDER"
folder=$1
wheels=${OSTLER_WHEELS:-${XDG_CACHE_HOME:-${HOME:-.}/.cache}/ostler/wheels}
pinned=$(sed -n 's/^\(llama-cpp-python==[^ ]*\).*/\1/p' requirements/llama.lock)
pip() { "$folder/bin/python" -m pip "$@" --quiet --disable-pip-version-check --no-input; }

require_compilers() {
  missing=
  command -v cmake >/dev/null || missing="$missing cmake make"
  command -v gcc >/dev/null || command -v clang >/dev/null || missing="$missing gcc"
  command -v g++ >/dev/null || command -v clang++ >/dev/null || missing="$missing g++"
  # shellcheck disable=SC2086 -- a list of words on purpose
  [ -z "$missing" ] || debian "Compiling llama.cpp" "" $missing
}

compile() {
  require_compilers
  say "Compiling $pinned (three to five minutes on two cores; once, the wheel is kept in $wheels) ..."
  mkdir -p "$wheels"
  fresh=$(mktemp -d "$wheels/.building.XXXXXX")
  trap 'rm -rf "$fresh"' EXIT
  # Without the image encoder, which nothing here uses and which takes a good part of the time.
  CMAKE_ARGS="-DLLAVA_BUILD=OFF ${CMAKE_ARGS:-}" CMAKE_BUILD_PARALLEL_LEVEL=$(getconf _NPROCESSORS_ONLN) nice -n 10 \
    "$folder/bin/python" -m pip wheel --quiet --disable-pip-version-check --no-input --no-deps --no-build-isolation \
    --require-hashes --requirement requirements/llama.lock --wheel-dir "$fresh" ||
    fail "llama.cpp did not compile, see above"
  mv "$fresh"/*.whl "$wheels/"
}

scripts/venv.sh "$folder" requirements/engine.lock
if ! pip install --no-deps --no-index --find-links "$wheels" "$pinned" 2>/dev/null; then
  compile
  pip install --no-deps --no-index --find-links "$wheels" "$pinned"
fi
say "The engine is ready: $pinned in $folder"
