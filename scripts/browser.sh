#!/bin/sh
# Install what tests/browser needs: a Chromium of the system, and axe-core for its checks of accessibility.
#
# usage: scripts/browser.sh LINK
#
# Chromium is the one on the PATH (chromium, chromium-browser, google-chrome), else Debian's package, installed by apt-get
# when run as root. axe-core comes from npm by the exact version and hash of tests/browser/package-lock.json, once per lock,
# into $OSTLER_BROWSER (default: ${XDG_CACHE_HOME:-~/.cache}/ostler/browser); LINK then points there. Nothing of it is part
# of Ostler: it is for the tests alone.
set -eu

say() { printf '%s\n' "$*"; }
fail() { printf 'ostler: %s\n' "$*" >&2; exit 1; }

[ $# -eq 1 ] || fail "usage: scripts/browser.sh LINK"
link=$1
source=tests/browser
store=${OSTLER_BROWSER:-${XDG_CACHE_HOME:-${HOME:-.}/.cache}/ostler/browser}
number=$(cat "$source/package.json" "$source/package-lock.json" | cksum | tr ' ' '-')
folder=$store/$number
without="or run the tests without a browser: make test WITHOUT_BROWSER=1"

# Debian packages, as root; $1 is what they are for, the rest their names.
apt() {
  what=$1
  shift
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
    fail "$what is needed for the tests of the dashboard (Debian, Ubuntu: \`sudo apt-get install $*\`), $without"
  say "The tests open the dashboard in a real browser: installing the Debian package $* with apt-get (running as root) ..."
  install="apt-get install -y -qq --no-install-recommends $*"
  export DEBIAN_FRONTEND=noninteractive
  $install >/dev/null 2>&1 || { apt-get update -qq && $install >/dev/null 2>&1; } ||
    fail "apt-get could not install $*, see \`$install\`, $without"
}

command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ||
  apt Chromium chromium

install_axe() {
  command -v npm >/dev/null || apt npm npm
  say "Installing axe-core from npm (about 3 MB, once; kept in $folder) ..."
  mkdir -p "$store"
  fresh=$(mktemp -d "$store/.installing.XXXXXX")
  trap 'rm -rf "$fresh"' EXIT
  cp "$source/package.json" "$source/package-lock.json" "$fresh/"
  (cd "$fresh" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2) ||
    fail "npm could not install axe-core, see above; run it again when that is mended, $without"
  [ -r "$fresh/node_modules/axe-core/axe.min.js" ] || fail "npm installed no axe-core, $without"
  rm -rf "$folder"
  mv "$fresh" "$folder"
}

[ -r "$folder/node_modules/axe-core/axe.min.js" ] || install_axe
ln -sfn "$folder" "$link"
