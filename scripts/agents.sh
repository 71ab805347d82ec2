#!/bin/sh
# Install the agent command lines that tests/agents runs: opencode, Claude Code and Codex, each one program.
#
# usage: scripts/agents.sh LINK
#
# They come from npm by the exact versions and hashes of tests/agents/package-lock.json, once per lock, into
# $OSTLER_AGENTS (default: ${XDG_CACHE_HOME:-~/.cache}/ostler/agents); LINK then points there. Install scripts of the
# packages do not run. Needs npm, which is installed by apt-get when run as root.
#
# WITH_AIDER=1 adds aider from PyPI, in a virtual environment of its own beside them: it brings some hundred packages,
# almost 700 MB, and wants a Python of 3.10 to 3.12 ($PYTHON). Its recordings are tested without it.
set -eu
. "${0%/*}/installing.sh"

[ $# -eq 1 ] || fail "usage: scripts/agents.sh LINK"
link=$1
source=tests/agents
folder=$(npm_folder "$source" "${OSTLER_AGENTS:-${XDG_CACHE_HOME:-${HOME:-.}/.cache}/ostler/agents}")
without="or run the tests without agents: make test WITHOUT_AGENTS=1"
programs="opencode claude codex"
aider=aider-chat==0.86.2

# opencode is locked with a hash for Linux on x64 alone; elsewhere it is asked for by its exact version.
require_opencode() {
  case "$(uname -s)-$(uname -m)" in
    Linux-aarch64 | Linux-arm64) package=opencode-linux-arm64 ;;
    Darwin-arm64) package=opencode-darwin-arm64 ;;
    Darwin-x86_64) package=opencode-darwin-x64-baseline ;;
    *) return 0 ;;
  esac
  version=$(sed -n 's/.*"opencode-linux-x64-baseline": "\([^"]*\)".*/\1/p' "$source/package.json")
  (cd "$1" && npm install --no-save --ignore-scripts --no-audit --no-fund --loglevel=error "$package@$version" >&2) ||
    fail "npm has no $package $version; $without"
}

# The programs that npm chose for this machine, by the names that the tests call them.
name_programs() {
  mkdir -p "$1/bin"
  for program in "$1"/node_modules/opencode-*/bin/opencode "$1"/node_modules/@anthropic-ai/claude-code-*/claude \
    "$1"/node_modules/@openai/codex-*/vendor/*/bin/codex; do
    [ ! -x "$program" ] || ln -sf "..${program#"$1"}" "$1/bin/${program##*/}"
  done
}

finish() {
  require_opencode "$1"
  name_programs "$1"
  for name in $programs; do
    mkdir -p "$1/home"
    HOME=$1/home "$1/bin/$name" --version >/dev/null 2>&1 ||
      fail "npm installed no '$name' that runs on this machine ($(uname -sm)); $without"
  done
  rm -rf "$1/home"
}

install_aider() {
  say "Installing $aider from PyPI (almost 700 MB on disk, once; kept in $folder) ..."
  "${PYTHON:-python3}" -m venv "$folder/aider"
  "$folder/aider/bin/python" -m pip install --quiet --disable-pip-version-check "$aider" ||
    fail "pip could not install $aider, see above; leave WITH_AIDER away to go without"
  ln -sf ../aider/bin/aider "$folder/bin/aider"
}

are_there() {
  for name in $programs; do
    [ -x "$folder/bin/$name" ] || return 1
  done
}

what="the agents opencode, Claude Code and Codex (some 300 MB to download)"
are_there || npm_install "$source" "$folder" "$what" "$without" finish
[ -z "${WITH_AIDER:-}" ] || [ -x "$folder/bin/aider" ] || install_aider
ln -sfn "$folder" "$link"
