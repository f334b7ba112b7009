#!/bin/sh
# Installs the packages in $1/debs as `apt-get install` would from an archive: the same
# versions in the same order, with the same marks. $1/names has all their names, and
# $1/manual those that the recipe asks for, one a line.
set -eu
given=$1

# invoke-rc.d(8): exit status 101 of policy-rc.d means "action forbidden by policy". A
# base that has a policy of its own keeps it.
policy=/usr/sbin/policy-rc.d
forbid='#!/bin/sh
exit 101'
if [ ! -e "$policy" ]; then
    printf '%s\n' "$forbid" >"$policy"
    chmod 0755 "$policy"
fi

before=$(mktemp)
apt-mark showmanual >"$before"

# The versions were chosen when the recipe was locked: neither archives nor preferences
# have a say any more. A changed configuration file stays as it is, and nobody is asked.
if [ -s "$given/names" ]; then
    apt-get -q -y --no-install-recommends \
        -o APT::Sandbox::User=root \
        -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null \
        -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
        -o Dpkg::Use-Pty=0 \
        -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
        -o Dpkg::Options::=--force-unsafe-io \
        install "$given"/debs/*.deb
fi

# apt takes every package that is named by its file for one that somebody asked for.
grep -vxF -f "$given/manual" -f "$before" "$given/names" | xargs -r apt-mark -qq auto
xargs -r apt-mark -qq manual <"$given/manual"

rm "$before"
if [ "$(cat "$policy")" = "$forbid" ]; then
    rm "$policy"
fi
