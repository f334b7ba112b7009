//! What of an installation stays out of its layer: what differs from one run or machine
//! to the next, what no two containers may share, and what is made again when it is
//! needed. docs/apt.md lists the same for a person.

use std::io::{self, Read};

use crate::layer::{self, LayerWriter};
use crate::sandbox::{Change, ChangeKind};

/// What becomes of a path that an installation changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is in the layer as it is.
    Keep,
    /// It is not in the layer: what the base has there, if anything, stays.
    Drop,
    /// It is in the layer, as an empty file.
    Empty,
    /// It is in the layer if its beginning says that no timestamp is in it: see
    /// [`is_checked_by_hash`].
    IfCheckedByHash,
}

/// Directories that a running system fills: hier(7), file-hierarchy(7). Neither they nor
/// what is in them is part of a layer.
const VOLATILE: [&str; 6] = ["dev", "proc", "run", "sys", "tmp", "var/tmp"];

/// Caches, with what is under them. Each is made again by the program that reads it.
const CACHES: [&str; 2] = [
    // apt: packages and their lists, which `apt-get update` fetches
    "var/cache/apt",
    "var/lib/apt/lists",
];

/// Caches whose directories belong to their package. They are keyed by the times of the
/// files that they are about, which are clamped in a layer.
const CACHES_IN_DIRECTORIES: [&str; 3] = ["var/cache/fontconfig", "var/cache/ldconfig", "var/cache/man"];

/// What installing programs write of their own doings, with times in each line.
const LOGS_OF_INSTALLING: [&str; 5] =
    ["var/log/alternatives.log", "var/log/apt", "var/log/bootstrap.log", "var/log/dpkg.log", "var/log/fontconfig.log"];

/// What tells one machine from another, or is a secret of one: made from random bytes
/// when a package is configured. In an image it would be the same for all who run it.
const IDENTITIES: [&str; 10] = [
    // machine-id(5), D-Bus: the dbus service makes it when it is not there
    "var/lib/dbus/machine-id",
    // random-seed of systemd and of sysvinit: credit for entropy that everybody knows
    "var/lib/systemd/random-seed",
    "var/lib/urandom/random-seed",
    // systemd-creds(1)
    "var/lib/systemd/credential.secret",
    // ssl-cert: the key of a self-signed certificate; `make-ssl-cert generate-default-snakeoil`
    "etc/ssl/certs/ssl-cert-snakeoil.pem",
    "etc/ssl/private/ssl-cert-snakeoil.key",
    // munge, bind9: shared secrets of a cluster and of a name server
    "etc/munge/munge.key",
    "etc/bind/rndc.key",
    // open-iscsi, nvme-cli: a host's name towards its storage
    "etc/iscsi/initiatorname.iscsi",
    "etc/nvme/hostid",
];

/// The copies that shadow-utils keeps of what it changes: passwd(5), shadow(5), subuid(5).
const BACKUPS: [&str; 6] = ["etc/group-", "etc/gshadow-", "etc/passwd-", "etc/shadow-", "etc/subgid-", "etc/subuid-"];

/// Where a host's identity is an empty file instead of none.
///
/// machine-id(5): "For operating system images which are created once and used on
/// multiple machines, for example for containers or in the cloud, /etc/machine-id should
/// be either missing or an empty file in the generic file system image".
const MACHINE_ID: &str = "etc/machine-id";

/// What becomes of `change`.
pub fn fate(change: &Change) -> Fate {
    let path = change.path.as_str();
    let file = matches!(change.kind, ChangeKind::File { .. } | ChangeKind::HardLink { .. });
    let directory = matches!(change.kind, ChangeKind::Directory { .. });
    if VOLATILE.iter().chain(&CACHES).any(|above| is_or_under(path, above)) {
        return Fate::Drop;
    }
    if !directory && is_cache(path) || file && is_backup(path) || is_identity(path, &change.kind) {
        return Fate::Drop;
    }
    if LOGS_OF_INSTALLING.iter().any(|above| is_or_under(path, above)) {
        return Fate::Drop;
    }
    // What a service logs to must be there, with the owner that its package gave it.
    if file && (path == MACHINE_ID || is_or_under(path, "var/log")) {
        return Fate::Empty;
    }
    if file && path.ends_with(".pyc") { Fate::IfCheckedByHash } else { Fate::Keep }
}

fn is_or_under(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn is_cache(path: &str) -> bool {
    CACHES_IN_DIRECTORIES.iter().any(|above| is_or_under(path, above)) && !path.ends_with("/CACHEDIR.TAG")
}

fn is_identity(path: &str, kind: &ChangeKind) -> bool {
    let file = matches!(kind, ChangeKind::File { .. } | ChangeKind::HardLink { .. });
    // c_rehash(1): the certificate's second name is a hash of its subject, the host's name
    let of_snakeoil = matches!(kind, ChangeKind::Symlink { target } if target.ends_with("ssl-cert-snakeoil.pem"));
    // sshd(8): the service makes the host keys that are not there
    let host_key = path.strip_prefix("etc/ssh/").is_some_and(|name| name.starts_with("ssh_host_"));
    file && (IDENTITIES.contains(&path) || host_key) || of_snakeoil && path.starts_with("etc/ssl/certs/")
}

/// Copies of the last state but one, by debconf and dpkg.
fn is_backup(path: &str) -> bool {
    let of_a_database = ["var/cache/debconf/", "var/lib/dpkg/"].iter().any(|above| path.starts_with(above));
    BACKUPS.contains(&path) || of_a_database && path.ends_with("-old") || is_or_under(path, "var/backups")
}

/// How much of a file [`is_checked_by_hash`] looks at, in bytes.
pub const PYC_FLAGS: usize = 8;

/// Whether a compiled Python module with this beginning is tied to its source by a hash.
/// One that is tied by the source's time is of no use where times are clamped.
///
/// PEP 552: "The pyc header currently consists of 3 32-bit words. We will expand it to 4.
/// The first word will continue to be the magic number […]. The second word […] will be a
/// bit field. […] If the bit field is 0, the pyc is a traditional timestamp-based pyc."
pub fn is_checked_by_hash(beginning: &[u8]) -> bool {
    matches!(beginning, [_, _, _, _, flags @ ..] if flags.len() >= 4 && flags[..4] != [0; 4])
}

/// Writes what is to be in the layer of a change; returns whether that is all of it.
pub fn write(change: Change, content: &mut dyn Read, out: &mut LayerWriter) -> Result<bool, layer::Error> {
    let mut beginning = Vec::new();
    let fate = match fate(&change) {
        Fate::IfCheckedByHash if matches!(change.kind, ChangeKind::File { .. }) => {
            let read = content.take(PYC_FLAGS as u64).read_to_end(&mut beginning);
            read.map_err(|source| layer::Error::Io { path: change.path.clone(), source })?;
            if is_checked_by_hash(&beginning) { Fate::Keep } else { Fate::Drop }
        }
        fate => fate,
    };
    match fate {
        Fate::Drop => Ok(false),
        Fate::Empty => {
            let kind = ChangeKind::File { size: 0 };
            Change { kind, ..change }.write_to(out, &mut io::empty()).map(|_| false)
        }
        Fate::Keep | Fate::IfCheckedByHash => change.write_to(out, &mut beginning.as_slice().chain(content)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::layer::Attributes;

    fn fate_of(path: &str, kind: ChangeKind) -> Fate {
        fate(&Change { path: path.into(), kind, attributes: Attributes::root(0o644), xattrs: BTreeMap::new() })
    }

    #[test]
    fn what_differs_from_run_to_run_is_left_out_and_the_rest_is_not() {
        let file = |path: &str| fate_of(path, ChangeKind::File { size: 1 });
        for path in [
            "run/lock/x",
            "tmp/y",
            "var/cache/apt/archives/lock",
            "var/cache/ldconfig/aux-cache",
            "var/cache/man/de/index.db",
            "var/cache/debconf/config.dat-old",
            "var/lib/dpkg/status-old",
            "var/log/apt/history.log",
            "etc/shadow-",
            "etc/ssh/ssh_host_ed25519_key.pub",
            "etc/ssl/private/ssl-cert-snakeoil.key",
        ] {
            assert_eq!(file(path), Fate::Drop, "{path}");
        }
        for path in [
            "etc/shadow",
            "etc/ssh/sshd_config",
            "var/lib/dpkg/status",
            "var/lib/apt/extended_states",
            "var/cache/debconf/config.dat",
            "var/cache/man/CACHEDIR.TAG",
            "usr/share/tmp/x",
            "runner",
        ] {
            assert_eq!(file(path), Fate::Keep, "{path}");
        }
        assert_eq!(file("var/log/nginx/access.log"), Fate::Empty);
        assert_eq!(file("etc/machine-id"), Fate::Empty);
        assert_eq!(file("usr/lib/python3/dist-packages/__pycache__/six.cpython-311.pyc"), Fate::IfCheckedByHash);
    }

    #[test]
    fn directories_that_packages_own_stay_though_they_are_empty() {
        let directory = |path: &str| fate_of(path, ChangeKind::Directory { opaque: false });
        assert_eq!(directory("var/log/nginx"), Fate::Keep);
        assert_eq!(directory("var/cache/man/de"), Fate::Keep);
        assert_eq!(directory("var/cache/apt/archives/partial"), Fate::Drop);
        assert_eq!(directory("run"), Fate::Drop);
    }

    #[test]
    fn a_link_to_the_self_signed_certificate_goes_with_it() {
        let link = |path: &str, target: &str| fate_of(path, ChangeKind::Symlink { target: target.into() });
        assert_eq!(link("etc/ssl/certs/1b2c3d4e", "ssl-cert-snakeoil.pem"), Fate::Drop);
        assert_eq!(link("etc/ssl/certs/5f6a7b8c", "ca.pem"), Fate::Keep);
        assert_eq!(link("var/lib/dbus/machine-id", "/etc/machine-id"), Fate::Keep);
    }

    #[test]
    fn compiled_python_is_told_apart_by_its_flags() {
        assert!(is_checked_by_hash(b"\xa7\x0d\x0d\x0a\x03\0\0\0"));
        assert!(!is_checked_by_hash(b"\xa7\x0d\x0d\x0a\0\0\0\0"));
        assert!(!is_checked_by_hash(b"\xa7\x0d"));
    }
}
