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
. "${0%/*}/installing.sh"

[ $# -eq 1 ] || fail "usage: scripts/browser.sh LINK"
link=$1
source=tests/browser
folder=$(npm_folder "$source" "${OSTLER_BROWSER:-${XDG_CACHE_HOME:-${HOME:-.}/.cache}/ostler/browser}")
without="or run the tests without a browser: make test WITHOUT_BROWSER=1"

has_axe() { [ -r "$1/node_modules/axe-core/axe.min.js" ]; }
check_axe() { has_axe "$1" || fail "npm installed no axe-core, $without"; }

command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ||
  debian "Looking at the dashboard in a real browser" "$without" chromium
has_axe "$folder" || npm_install "$source" "$folder" "axe-core (about 3 MB)" "$without" check_axe
ln -sfn "$folder" "$link"
