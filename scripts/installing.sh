# What the scripts that install programs for the tests share. Sourced by them.
#
# Defines say, fail, debian, npm_folder and npm_install.

say() { printf '%s\n' "$*"; }
fail() { printf 'ostler: %s\n' "$*" >&2; exit 1; }

# Debian packages, installed as root. $1: what needs them, as the begin of a sentence; $2: the way without it, or nothing;
# the rest: the packages. Elsewhere it is said what to install.
debian() {
  wants=$1
  without=${2:+, $2}
  shift 2
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
    fail "$wants needs $*: install it (Debian, Ubuntu: \`sudo apt-get install $*\`), then again$without"
  say "$wants needs what is not here: installing the Debian package $* with apt-get (running as root) ..."
  install="apt-get install -y -qq --no-install-recommends $*"
  export DEBIAN_FRONTEND=noninteractive
  $install >/dev/null 2>&1 || { apt-get update -qq && $install >/dev/null 2>&1; } ||
    fail "apt-get could not install $*, see \`$install\`$without"
}

# The folder of npm packages of one lock. $1: the folder of package.json and its lock; $2: where such folders are kept.
npm_folder() { printf '%s/%s' "$2" "$(cat "$1/package.json" "$1/package-lock.json" | cksum | tr ' ' '-')"; }

# Fill it, by exact version and hash; install scripts of the packages do not run. $1, $2: the lock and the folder; $3: what
# it is, for people; $4: the way without; $5: a function that finishes a fresh folder, and fails where that is of no use.
npm_install() {
  command -v npm >/dev/null || debian "$3 from npm" "$4" npm
  say "Installing $3 from npm (once; kept in $2) ..."
  store=${2%/*}
  mkdir -p "$store"
  fresh=$(mktemp -d "$store/.installing.XXXXXX")
  trap 'rm -rf "$fresh"' EXIT
  cp "$1/package.json" "$1/package-lock.json" "$fresh/"
  (cd "$fresh" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2) ||
    fail "npm could not install $3, see above; run it again when that is mended, $4"
  "$5" "$fresh"
  rm -rf "$2"
  mv "$fresh" "$2"
}
