#!/bin/sh
# Asks apt what it would install for the packages in $1/packages, one a line, if what
# $1/status says (dpkg's database) were installed. Further arguments are options of
# apt-get's. Into $2 go `simulation` (what would be done), `uris` (what would be fetched)
# and `records` (what the archives say of it).
set -eu
given=$1
answers=$2
shift 2

mkdir -p "$answers/empty/partial"
ask() {
    xargs apt-get -y "$@" \
        -o APT::Sandbox::User=root -o APT::Get::Always-Include-Phased-Updates=true \
        -o Dir::Cache::Archives="$answers/empty" -o Dir::State::status="$given/status" \
        install <"$given/packages"
}
ask -s "$@" >"$answers/simulation"
ask -qq --print-uris "$@" >"$answers/uris"

# `Inst NAME [INSTALLED] (VERSION ARCHIVE [ARCHITECTURE])`
sed -n -E 's/^Inst ([^ ]+) (\[[^]]*\] )?\(([^ ]+) .*/\1=\3/p' "$answers/simulation" >"$answers/versions"
xargs -r apt-cache show <"$answers/versions" >"$answers/records"
