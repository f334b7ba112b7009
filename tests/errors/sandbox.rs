//! What a sandbox, the layers that it extracts and those that it makes can fail with.
//! What costs an hour, a full disk or another machine is made by hand; what steps meet
//! otherwise is in `tests/steps.rs`.

use std::io;

use dlpack::assemble::Error;
use dlpack::changeset::account;
use dlpack::changeset::apt::AptError;
use dlpack::changeset::bytecode;
use dlpack::oci::Digest;
use dlpack::sandbox::{self, Ending, ExtractError, Obstacle, Refusal, Tail, Unfit};
use rustix::io::Errno;

use crate::support::shown::Shown;

/// The error of a layer `one` with this cause.
pub fn of_layer(source: impl Into<dlpack::changeset::Error>) -> Error {
    Error::Layer { layer: "one".into(), source: source.into() }
}

/// What a step said last.
pub fn said(lines: &[&str]) -> Tail {
    Tail { path: "STORE/logs/one.log".into(), lines: lines.iter().map(|line| (*line).to_owned()).collect() }
}

fn refused(refusal: Refusal) -> Error {
    of_layer(sandbox::Error::Refused(refusal))
}

#[test]
fn a_machine_that_refuses_namespaces() {
    let mut shown = Shown::new();
    for (case, obstacle, errno) in [
        ("none for anybody", Obstacle::NoUserNamespaces, Errno::NOSPC),
        ("none left", Obstacle::TooManyUserNamespaces, Errno::NOSPC),
        ("Debian's switch", Obstacle::UsernsCloneOff, Errno::PERM),
        ("Ubuntu's AppArmor", Obstacle::AppArmor, Errno::ACCESS),
        ("a container", Obstacle::ContainerProfile, Errno::PERM),
        ("a chroot", Obstacle::Chroot, Errno::PERM),
        ("a kernel without", Obstacle::NoKernelSupport, Errno::INVAL),
        ("nobody knows why", Obstacle::Unknown, Errno::PERM),
    ] {
        shown.add(case, refused(Refusal::Namespaces { obstacle, source: errno.into() }));
    }
    shown.is("sandbox/namespaces");
}

#[test]
fn a_sandbox_that_ends_early() {
    let mut shown = Shown::new();
    let call = |doing: &str, errno: Errno| {
        refused(Refusal::Call { doing: doing.into(), path: "STORE/tmp/work".into(), source: errno.into() })
    };
    shown.add("a mount that fails", call("mount", Errno::INVAL));
    shown.add("a full disk in it", call("write", Errno::NOSPC));
    shown.add("a kernel that is too old", call("mount", Errno::NOSYS));
    let (path, is) = ("run/secrets".to_owned(), Unfit::Link);
    shown.add("a mount point that leads elsewhere", refused(Refusal::MountPoint { path, is }));
    shown.add("a file name that is not UTF-8", refused(Refusal::Name { path: "srv/caf\u{fffd}".into() }));
    shown.add("killed", refused(Refusal::Killed));
    let full = |doing| sandbox::Error::Io { doing, path: "STORE/logs/one.log".into(), source: Errno::NOSPC.into() };
    shown.add("a log that can't be kept", of_layer(full("create")));
    let source = io::ErrorKind::UnexpectedEof.into();
    shown.add("a first process that is gone", of_layer(sandbox::Error::Helper { source }));
    let step = || sandbox::Error::Step { command: "python3 -s -S".into(), ending: Ending::Exit(1) };
    shown.add("a step of dlpack's own", of_layer(step()));
    let tail = said(&["Segmentation fault"]);
    let compile = bytecode::Error::Compile { prefix: "/opt/venv".into(), ending: step(), tail };
    shown.add("an interpreter that does not run", of_layer(compile));
    let bytecode =
        bytecode::Error::Io { doing: "write", path: "STORE/tmp/work/modules".into(), source: Errno::NOSPC.into() };
    shown.add("no space for bytecode", of_layer(bytecode));
    let packages = vec!["tmux".to_owned(), "vim=2:9.0".to_owned()];
    let lines = ["dpkg: error processing package tmux (--configure):", " tmux's postinst returned error exit status 1"];
    shown.add("a maintainer script that fails", of_layer(AptError::Install { packages, said: said(&lines) }));
    shown.is("sandbox/ended");
}

#[test]
fn an_account_beside_layers_that_run_something() {
    let mut shown = Shown::new();
    let user = || "dev".to_owned();
    let hidden = account::Error::Hidden { user: user(), layer: "tools".into() };
    shown.add("a layer after it that may bring account files", of_layer(hidden));
    let (found, assumed) = ("/srv/dev".into(), "/home/dev".into());
    let differs = account::Error::HomeDiffers { user: user(), found, assumed };
    shown.add("a layer before it that made the user", of_layer(differs));
    shown.is("sandbox/account");
}

#[test]
fn a_layer_that_cannot_be_extracted() {
    let layer = Digest::of(b"layer");
    let path = || "srv/data".to_owned();
    let not_found = || io::Error::from(Errno::NOENT);
    let mut shown = Shown::new();
    let mut add = |case: &str, error: ExtractError| shown.add(case, Error::from(error));
    add("a blob that is gone", ExtractError::Missing { layer });
    add("a way out", ExtractError::Leaves { layer, path: "../etc/passwd".into() });
    add("a name that no file can have", ExtractError::Name { layer, path: ".wh.".into() });
    add("the root as a file", ExtractError::Root { layer, kind: "file" });
    add("a sparse file", ExtractError::Kind { layer, path: path(), kind: "sparse file" });
    add("a file as a directory", ExtractError::Parent { layer, path: path(), source: Errno::NOTDIR.into() });
    let (target, what) = ("srv/none".to_owned(), "is not there");
    add("a hard link to nothing", ExtractError::HardLink { layer, path: path(), target, what });
    add("a bomb", ExtractError::TooMany { layer, what: "entries" });
    let store = || std::path::PathBuf::from("STORE/rootfs");
    add("a filesystem without attributes", ExtractError::Xattrs { path: store(), source: Errno::NOTSUP.into() });
    add("an old kernel", ExtractError::Openat2 { source: Errno::NOSYS.into() });
    let entry = |doing, source| ExtractError::Entry { doing, path: path(), layer, source };
    add("a full disk", entry("write", Errno::NOSPC.into()));
    add("a file that is gone", entry("link", not_found()));
    add("a store that is read-only", ExtractError::Io { doing: "create", path: store(), source: Errno::ROFS.into() });
    shown.is("sandbox/layers");
}
