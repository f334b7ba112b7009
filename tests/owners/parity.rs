//! The same packages are installed by an ordinary user's sandbox and by a user who has a
//! range of subordinate ids, whose owners are the kernel's own; every path must be the same.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use dlpack::oci::{Descriptor, DiffId, Digest, media_type};
use dlpack::sandbox::{Change, ChangeKind, Error, Mount, MountKind, Rootfs, Step, extract};
use dlpack::store::{Area, Store};
use serde::Deserialize;

use crate::support::sandbox::{Bench, run, under};
use crate::support::{output, parts, rootfs};

/// What is installed: system users, set-user-ID and set-group-ID programs, directories of
/// others, access control lists, databases made as another user.
const PACKAGES: [&str; 11] = [
    "openssh-server",
    "tmux",
    "python3-venv",
    "sudo",
    "postgresql",
    "nginx",
    "cron",
    "man-db",
    "dbus",
    "systemd",
    "build-essential",
];

const INSTALL: &str = r"
    export DEBIAN_FRONTEND=noninteractive
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    apt-get --quiet --yes --no-install-recommends install /parity/debs/*.deb
";

/// Files whose content, and with it their size, is another in any two installations.
/// Whatever else stat says of them is compared.
const CONTENT_DIFFERS: [&str; 8] = [
    "/etc/ssh/ssh_host_",
    "/etc/machine-id",
    "/var/log/",
    "/var/cache/ldconfig/aux-cache",
    "/var/cache/apt/",
    "/etc/ssl/private/",
    "/var/lib/postgresql/",
    "/var/cache/man/",
];

/// The user with subordinate ids.
const TRUTH: (&str, u32) = ("dlpack-subuid", 52_342);

/// Tells the ordinary user's process where what was made for it lies.
const DIRECTORY: &str = "DLPACK_TEST_PARITY";

#[test]
fn packages_leave_what_they_leave_under_a_range_of_subordinate_ids() {
    let name = "owners::parity::packages_leave_what_they_leave_under_a_range_of_subordinate_ids";
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return under(name, &[], || compare(Path::new(&directory)));
    }
    let directory = tempfile::Builder::new().prefix("dlpack-parity-").tempdir_in("/var/tmp").unwrap();
    let path = directory.path();
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::copy(rootfs::bare_tar(), path.join("base.tar")).unwrap();
    fs::create_dir(path.join("parity")).unwrap();
    let debs = debs(&path.join("base.tar"));
    fs::create_dir(path.join("parity/debs")).unwrap();
    for deb in fs::read_dir(debs).unwrap().map(|entry| entry.unwrap().path()) {
        if deb.extension().is_some_and(|extension| extension == "deb") {
            fs::copy(&deb, path.join("parity/debs").join(deb.file_name().unwrap())).unwrap();
        }
    }
    let listing = include_str!("listing.py");
    fs::write(path.join("parity/listing.py"), listing).unwrap();
    fs::write(path.join("parity/install"), INSTALL).unwrap();
    fs::write(path.join("truth"), truth(path)).unwrap();
    let variable = format!("{DIRECTORY}={}", path.display());
    under(name, &["env", &variable], || ());
}

/// The packages with all that they depend on, fetched once by this machine's apt.
fn debs(tar: &Path) -> PathBuf {
    let key = Digest::of(format!("{PACKAGES:?} {}", fs::metadata(tar).unwrap().len()).as_bytes()).short();
    let debs = parts().join(format!("parity-debs-{key}"));
    let _alone = rootfs::alone(&debs);
    if debs.exists() {
        return debs;
    }
    let unfinished = debs.with_extension("unfinished");
    let _ = fs::remove_dir_all(&unfinished);
    fs::create_dir_all(unfinished.join("partial")).unwrap();
    let mut status = Command::new("tar");
    status.arg("--extract").arg("--file").arg(tar).arg("--directory").arg(&unfinished);
    output(status.arg("./var/lib/dpkg/status"), "tar");
    let mut apt = Command::new("apt-get");
    apt.args(["--quiet", "--yes", "--no-install-recommends", "--download-only"]);
    for (name, path) in [("State::status", "var/lib/dpkg/status"), ("Cache::archives", "")] {
        apt.arg(format!("--option=Dir::{name}={}", unfinished.join(path).display()));
    }
    apt.args(["--option=Dir::Cache::pkgcache=", "--option=Dir::Cache::srcpkgcache=", "--option=Debug::NoLocking=1"]);
    apt.args(["--option=APT::Sandbox::User=root", "install"]).args(PACKAGES);
    output(&mut apt, "apt");
    fs::rename(&unfinished, &debs).unwrap();
    debs
}

/// What the user with subordinate ids gets, as lines of `listing.py`.
fn truth(directory: &Path) -> Vec<u8> {
    let (name, uid) = TRUTH;
    let known = Command::new("id").arg(name).output().expect("id");
    if !known.status.success() {
        // adduser(8): a user that is no system user gets a range of subordinate ids
        output(Command::new("useradd").args(["--no-create-home", "--uid", &uid.to_string(), name]), "passwd");
    }
    let place = directory.join("subuid");
    fs::create_dir(&place).unwrap();
    std::os::unix::fs::chown(&place, Some(uid), Some(uid)).expect("this test runs as root");
    let script = r#"
        hostname sandbox; umask 022; mkdir root; cd root
        tar --extract --preserve-permissions --same-owner --numeric-owner --file ../../base.tar
        mkdir -p dev proc sys parity
        for device in null zero full random urandom tty; do
            touch dev/$device; mount --bind /dev/$device dev/$device
        done
        # what a step is given: a place of its own in hosts(5)
        printf '%s\n' '127.0.0.1	localhost' '::1	localhost ip6-localhost ip6-loopback' '127.0.1.1	sandbox' >../hosts
        touch etc/hosts; mount --bind ../hosts etc/hosts
        mkdir -p dev/shm dev/pts; mount -t tmpfs none dev/shm; ln -s /proc/self/fd dev/fd
        mount -t proc proc proc; mount --rbind ../../parity parity
        export HOME=/root LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        chroot . sh -eu /parity/install >&2
        chroot . python3 /parity/listing.py
    "#;
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--map-auto", "--mount", "--pid", "--fork", "--ipc", "--uts", "--net"]);
    command.args(["--kill-child", "sh", "-euc", script]).current_dir(&place).env_clear();
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").uid(uid).gid(uid);
    output(&mut command, "uidmap and util-linux").stdout
}

/// What is said of a path.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
struct Entry {
    path: String,
    mode: u32,
    uid: u32,
    gid: u32,
    size: u64,
    target: String,
    device: u64,
    xattrs: BTreeMap<String, String>,
}

fn listing(text: &str) -> BTreeMap<String, Entry> {
    let entries = text.lines().map(|line| serde_json::from_str::<Entry>(line).unwrap());
    let entries = entries.map(|mut entry| {
        if CONTENT_DIFFERS.iter().any(|prefix| entry.path.starts_with(prefix)) {
            entry.size = 0;
        }
        (entry.path.clone(), entry)
    });
    entries.collect()
}

/// In the ordinary user's process.
fn compare(directory: &Path) {
    let truth = listing(&fs::read_to_string(directory.join("truth")).unwrap());
    let bench = Bench::new();
    let store = Store::open(&bench.path("store")).unwrap();
    let tar = fs::read(directory.join("base.tar")).unwrap();
    let digest = store.put(Area::Blobs, &tar).unwrap();
    let layer = Descriptor::new(media_type::LAYER_TAR, digest, tar.len() as u64);
    let base = extract::base(&store, &[(layer, DiffId(Digest::of(&tar)))]).unwrap();
    let mut sandbox = Rootfs::new(vec![base], Arc::new(bench.host())).open().unwrap();
    let parity = Mount { from: directory.join("parity"), to: "/parity".to_owned(), kind: MountKind::ReadOnly };
    let mut step = |command: &[&str]| {
        let (printed, result) = run(&mut sandbox, &Step::new(command.iter().copied()).mount(parity.clone()));
        result.unwrap_or_else(|error| panic!("{error}\n{printed}"));
        printed
    };
    step(&["sh", "-eu", "/parity/install"]);
    let ours = listing(&step(&["python3", "/parity/listing.py"]));
    assert!(truth.len() > 8000, "{} paths", truth.len());
    same("what a step sees", &ours, &truth);
    let mut changed = BTreeMap::new();
    sandbox
        .changes::<Error>(&mut |change, _| {
            let entry = of_change(&change, &changed);
            changed.extend(entry.map(|entry| (entry.path.clone(), entry)));
            Ok(true)
        })
        .unwrap();
    assert!(changed.len() > 5000, "{} changes", changed.len());
    let mut truth: BTreeMap<_, _> = truth.into_iter().filter(|(path, _)| changed.contains_key(path)).collect();
    // a layer has no access control lists, as no builder's has; their permission bits it has
    truth.values_mut().for_each(|entry| entry.xattrs.retain(|name, _| !name.starts_with("system.posix_acl_")));
    same("what a layer has", &changed, &truth);
}

/// A change as the listing has it; nothing for what is no more. `before` has the changes
/// that come before it.
fn of_change(change: &Change, before: &BTreeMap<String, Entry>) -> Option<Entry> {
    let path = format!("/{}", change.path);
    let mut entry = Entry { path: path.clone(), ..Entry::default() };
    let kind = match &change.kind {
        ChangeKind::Whiteout => return None,
        ChangeKind::HardLink { to } => return Some(Entry { path, ..before[&format!("/{to}")].clone() }),
        ChangeKind::Directory { .. } => 0o040_000,
        ChangeKind::File { size } => {
            entry.size = if CONTENT_DIFFERS.iter().any(|prefix| path.starts_with(prefix)) { 0 } else { *size };
            0o100_000
        }
        ChangeKind::Symlink { target } => {
            entry.target.clone_from(target);
            0o120_000
        }
        ChangeKind::Fifo => 0o010_000,
        ChangeKind::Device { block: true, .. } => 0o060_000,
        ChangeKind::Device { block: false, .. } => 0o020_000,
    };
    let attributes = change.attributes;
    (entry.mode, entry.uid, entry.gid) = (kind | attributes.mode, attributes.uid, attributes.gid);
    let hex = |value: &Vec<u8>| value.iter().map(|byte| format!("{byte:02x}")).collect();
    entry.xattrs = change.xattrs.iter().map(|(name, value)| (name.clone(), hex(value))).collect();
    Some(entry)
}

#[track_caller]
fn same(what: &str, ours: &BTreeMap<String, Entry>, truth: &BTreeMap<String, Entry>) {
    let mut differences = Vec::new();
    for path in ours.keys().chain(truth.keys().filter(|path| !ours.contains_key(*path))) {
        if ours.get(path) != truth.get(path) {
            differences.push(format!("{path}\n  ours  {:?}\n  truth {:?}", ours.get(path), truth.get(path)));
        }
    }
    let count = differences.len();
    differences.truncate(40);
    assert!(count == 0, "{what}: {count} of {} paths differ\n{}", truth.len(), differences.join("\n"));
}
