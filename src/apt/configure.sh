#!/bin/sh
# Configures the packages that lie unpacked in this root filesystem, as `dpkg --install`
# would have after it unpacked them.
set -eu
info=/var/lib/dpkg/info

# invoke-rc.d(8): exit status 101 of policy-rc.d means "action forbidden by policy".
policy=/usr/sbin/policy-rc.d
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 0755 "$policy"

# Debian policy 6.5: "new-preinst install", with the variables of dpkg(1)
preinst() {
    [ -e "$info/$1.preinst" ] || return 0
    DPKG_MAINTSCRIPT_PACKAGE=${1%%:*} DPKG_MAINTSCRIPT_NAME=preinst DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1 \
        DPKG_MAINTSCRIPT_ARCH=$(dpkg --print-architecture) DPKG_ADMINDIR=/var/lib/dpkg DPKG_ROOT= \
        "$info/$1.preinst" install
}

# Whatever names a user or group needs this one first, and says so nowhere: it is essential.
preinst base-passwd
dpkg --force-depends --configure base-passwd
for script in "$info"/*.preinst; do
    name=${script##*/}
    name=${name%.preinst}
    [ "$name" = base-passwd ] || [ "$name" = '*' ] || preinst "$name"
done
dpkg --configure --pending

rm "$policy"
