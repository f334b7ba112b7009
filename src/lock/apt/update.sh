#!/bin/sh
# Reads the archives that the base's apt knows, and those in $1/sources: sources.list(5),
# one file each, with their keys beside them. $1/mirrors has pairs of addresses, one pair
# a line: what is at the first is read from the second.
set -eu
given=$1

cp "$given"/sources/*.sources /etc/apt/sources.list.d/ 2>/dev/null || true
while read -r from to; do
    for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
        if [ -f "$list" ]; then
            sed -i -E "s#$from(/|[[:space:]]|\$)#$to\1#g" "$list"
        fi
    done
done <"$given/mirrors"

# By default apt is content with what it could read, and with old lists of the rest.
exec apt-get -q -o APT::Sandbox::User=root -o APT::Update::Error-Mode=any -o Acquire::Languages=none update
