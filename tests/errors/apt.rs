//! Archives, keys, packages and bases that are made of them. `tests/archives.rs` holds
//! which archive is refused as what; here is what a person then reads.

use std::fs;
use std::path::PathBuf;

use dlpack::apt::openpgp::Keyring;
use dlpack::apt::{base, closure, deb, index, made, mirrors, openpgp, release, sources, unpacked};
use dlpack::cli::error::Failure;
use dlpack::lock::{AptError, Error, base as locked};
use rustix::io::Errno;

use super::sandbox::said;
use crate::support::archive::Archive;
use crate::support::shown::Shown;

const URL: &str = "http://archive.test/debian";
const IN_RELEASE: &str = "http://archive.test/debian/dists/bookworm/InRelease";

/// How a lock fails whose base comes from an archive.
fn of_archive(error: impl Into<base::Error>) -> Failure {
    Error::from(locked::Error::from(error.into())).into()
}

#[test]
fn an_archive_that_is_not_the_one() {
    let mut shown = Shown::new();
    let debian = || "debian".to_owned();
    shown.add("no mirror", of_archive(base::Error::NoMirror { archive: "ubuntu".into() }));
    let (suite, apt) = ("trixie".to_owned(), "/etc/apt".to_owned());
    shown.add("no mirror with the suite", of_archive(base::Error::NotFound { archive: debian(), suite, apt }));
    let other = base::Error::OtherArchive { url: URL.into(), archive: debian(), found: "Ubuntu".into() };
    shown.add("another archive", of_archive(other));
    let none = release::Error::NoRelease { url: URL.into(), suite: "bookwurm".into() };
    shown.add("no such suite", of_archive(none));
    let url = || IN_RELEASE.to_owned();
    shown.add("a Release without an end", of_archive(release::Error::TooLong { url: url() }));
    let until = "Sat, 01 Jan 2022 00:00:00 UTC".into();
    shown.add("an old Release", of_archive(release::Error::Expired { url: url(), until }));
    let date = "Wed, 01 Jan 2070 00:00:00 UTC".into();
    shown.add("a Release of the future", of_archive(release::Error::NotYetValid { url: url(), date }));
    let other = release::Error::OtherSuite { url: url(), suite: "bookworm".into(), found: "bullseye".into() };
    shown.add("another suite", of_archive(other));
    shown.add("a Release without a field", of_archive(release::Error::Field { url: url(), field: "SHA256" }));
    let path = || "universe/binary-amd64/Packages".to_owned();
    let none = index::Error::NotListed { url: URL.into(), suite: "bookworm".into(), path: path() };
    shown.add("no such component", of_archive(none));
    let damaged = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    shown.add("a damaged index", of_archive(index::Error::Unpack { path: path(), source: damaged }));
    shown.add("no such package", of_archive(closure::Error::NoPackage { name: "tmus".into() }));
    let (package, dependency) = ("tmux".into(), "libevent-core-2.1-7 | libevent".into());
    shown.add("a dependency that is not there", of_archive(closure::Error::NoDependency { package, dependency }));
    shown.is("apt/archives");
}

#[test]
fn a_signature_that_does_not_count() {
    let mut shown = Shown::new();
    let of_signature = |source| of_archive(release::Error::Signature { url: IN_RELEASE.into(), source });
    let key = || "4CB50190207B4758A3F73A796ED0E7B82643E131".to_owned();
    let archive = Archive::new();
    let keyring = Keyring::parse(&fs::read(archive.key()).expect("a key")).expect("a keyring");
    let page = keyring.verify_cleartext(b"<html>log in first</html>", 0).expect_err("no signature");
    shown.add("a page in place of a Release", of_signature(page));
    shown.add("no signature", of_signature(openpgp::Error::Unsigned));
    let Err(source) = keyring.verify(b"no signature", b"Release", 0) else { panic!("it is no signature") };
    shown.add("a signature that breaks off", of_signature(source));
    shown.add("a Release that was changed", of_signature(openpgp::Error::Bad { key: key() }));
    shown.add("an unknown key", of_signature(openpgp::Error::Unknown { keys: vec![key()] }));
    let unusable = openpgp::Error::Unusable { key: key(), why: "expired on 2020-01-02".into() };
    shown.add("an old key", of_signature(unusable));
    shown.add("an old signature", of_signature(openpgp::Error::Expired { key: key(), on: "2020-01-02".into() }));
    let why = "it is made with a hash that is no longer safe, or not known here";
    shown.add("a hash that is not safe", of_signature(openpgp::Error::Weak { key: key(), why }));
    let path = || PathBuf::from("keys/archive.gpg");
    let unreadable = sources::Error::Unreadable { path: path(), source: Errno::NOENT.into() };
    shown.add("a keyring that is not there", of_archive(unreadable));
    let Err(source) = Keyring::parse(b"no key") else { panic!("it is no keyring") };
    shown.add("a file that is no keyring", of_archive(sources::Error::Keyring { path: path(), source }));
    shown.add("no keys", of_archive(sources::Error::NoKeys { archive: "ubuntu".into() }));
    shown.is("apt/signatures");
}

#[test]
fn a_base_that_cannot_be_made() {
    let mut shown = Shown::new();
    let mut add = |case: &str, error: made::Error| shown.add(case, Error::from(locked::Error::from(error)));
    let unpack = |error: unpacked::Error| made::Error::from(error);
    let package = || "tmux_3.3a-3_amd64.deb".to_owned();
    let form = deb::Error::Form { package: package(), what: "it is no ar archive" };
    add("a file that is no package", unpack(form.into()));
    let io = deb::Error::Io { package: package(), source: std::io::ErrorKind::UnexpectedEof.into() };
    add("a package that is cut off", unpack(io.into()));
    add("a package without control", unpack(unpacked::Error::Control { package: package() }));
    let path = || "usr/bin/tmux".to_owned();
    add("a package with a device", unpack(unpacked::Error::Kind { package: package(), path: path() }));
    add("two packages with one file", unpack(unpacked::Error::Twice { package: package(), path: path() }));
    let spool = |source| unpacked::Error::Spool { doing: "write", path: "STORE/tmp".into(), source };
    add("a full disk", unpack(spool(Errno::NOSPC.into())));
    let lines = ["dpkg: error processing package tmux (--configure):", " tmux's postinst returned error exit status 1"];
    add("a maintainer script that fails", made::Error::Configure { said: said(&lines) });
    shown.is("apt/made");
}

#[test]
fn an_archive_that_a_lock_cannot_have() {
    let mut shown = Shown::new();
    let layer = || "tools".to_owned();
    let uri = || "cdrom://disk/pool/main/t/tmux/tmux_3.3a-3_amd64.deb".to_owned();
    shown.add("an archive on a disk", Error::from(AptError::Scheme { layer: layer(), uri: uri() }));
    let uri = format!("{URL}/pool/main/t/tmux/tmux_3.3a-3_amd64.deb");
    let record = AptError::Record { layer: layer(), uri, what: "SHA256" };
    shown.add("an archive without hashes", Error::from(record));
    let source = "".parse::<url::Url>().expect_err("no address");
    let address = mirrors::Error::Address { archive: "nowhere".into(), source };
    shown.add("a lock with another address", dlpack::assemble::Error::from(address));
    shown.is("apt/packages");
}
