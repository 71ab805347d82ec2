#!/bin/sh
# Install the agent command lines that tests/agents runs: opencode and Claude Code, each one program without dependencies.
#
# usage: scripts/agents.sh LINK
#
# They come from npm by the exact versions and hashes of tests/agents/package-lock.json, once per lock, into
# $OSTLER_AGENTS (default: ${XDG_CACHE_HOME:-~/.cache}/ostler/agents); LINK then points there. Install scripts of the
# packages do not run. Needs npm, which is installed by apt-get when run as root.
set -eu

say() { printf '%s\n' "$*"; }
fail() { printf 'ostler: %s\n' "$*" >&2; exit 1; }

[ $# -eq 1 ] || fail "usage: scripts/agents.sh LINK"
link=$1
source=tests/agents
store=${OSTLER_AGENTS:-${XDG_CACHE_HOME:-${HOME:-.}/.cache}/ostler/agents}
number=$(cat "$source/package.json" "$source/package-lock.json" | cksum | tr ' ' '-')
folder=$store/$number
without="or run the tests without agents: make test WITHOUT_AGENTS=1"

require_npm() {
  ! command -v npm >/dev/null || return 0
  hint="npm is needed to install the agent command lines of the tests (Debian, Ubuntu: \`sudo apt-get install npm\`)"
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || fail "$hint, $without"
  say "The tests run real agents, which come from npm: installing the Debian package npm with apt-get (running as root) ..."
  install="apt-get install -y -qq --no-install-recommends npm"
  $install >/dev/null 2>&1 || {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $install >/dev/null
  }
}

# The programs that npm chose for this machine, by the names that the tests call them.
name_programs() {
  mkdir -p "$1/bin"
  for program in "$1"/node_modules/opencode-*/bin/opencode "$1"/node_modules/@anthropic-ai/claude-code-*/claude; do
    [ ! -x "$program" ] || ln -sf "..${program#"$1"}" "$1/bin/${program##*/}"
  done
}

install_agents() {
  require_npm
  say "Installing opencode and Claude Code from npm (about 140 MB to download, once; kept in $folder) ..."
  mkdir -p "$store"
  fresh=$(mktemp -d "$store/.installing.XXXXXX")
  trap 'rm -rf "$fresh"' EXIT
  cp "$source/package.json" "$source/package-lock.json" "$fresh/"
  (cd "$fresh" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2) ||
    fail "npm could not install the agents, see above; run it again when that is mended, $without"
  name_programs "$fresh"
  for name in opencode claude; do
    HOME=$fresh/home "$fresh/bin/$name" --version >/dev/null 2>&1 ||
      fail "npm installed no '$name' that runs on this machine ($(uname -sm)); $without"
  done
  rm -rf "$fresh/home"
  rm -rf "$folder"
  mv "$fresh" "$folder"
}

[ -x "$folder/bin/opencode" ] && [ -x "$folder/bin/claude" ] || install_agents
ln -sfn "$folder" "$link"
