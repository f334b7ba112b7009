//! Archives: who may sign one, what is taken from it, and a base that is made of it.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime};

use dlpack::apt::base::{self, Suite, Wanted};
use dlpack::apt::fetch::{self, Deb};
use dlpack::apt::openpgp;
use dlpack::apt::{release, sources};
use dlpack::progress::Progress;
use dlpack::registry::download;
use dlpack::registry::http::Http;
use dlpack::store::{self, Area, Store};
use tempfile::TempDir;

use crate::support::archive::{Archive, SUITE, date};
use crate::support::command::Dlpack;

/// What makes a base of `archive`, whose key is in `key`.
async fn suites_with(archive: &Archive, key: &Path) -> Result<Vec<Suite>, base::Error> {
    let (mirror, components) = (archive.url().parse().unwrap(), ["main".to_owned()]);
    let wanted = Wanted {
        archive: "test",
        suite: SUITE,
        mirror: Some(&mirror),
        components: &components,
        packages: &[],
        key: Some(key),
        architecture: "amd64",
    };
    base::suites(&Http::new().unwrap(), &wanted, Path::new(sources::DIRECTORY), SystemTime::now()).await
}

/// Why nobody vouches for `archive`, whether its signature is in its text or beside it.
async fn refusals(archive: &Archive, key: &Path) -> [openpgp::Error; 2] {
    let inline = refusal(archive, key).await;
    let signed = fs::read(archive.dists("InRelease")).unwrap();
    fs::remove_file(archive.dists("InRelease")).unwrap();
    let detached = refusal(archive, key).await;
    fs::write(archive.dists("InRelease"), signed).unwrap();
    [inline, detached]
}

async fn refusal(archive: &Archive, key: &Path) -> openpgp::Error {
    match suites_with(archive, key).await.map(|_| ()) {
        Err(base::Error::Release(release::Error::Signature { source, .. })) => source,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_suite_that_a_known_key_signed_is_taken_whichever_way_it_is_signed() {
    let archive = Archive::new();
    let key = archive.key();
    let inline = suites_with(&archive, &key).await.unwrap();
    fs::remove_file(archive.dists("InRelease")).unwrap();
    let detached = suites_with(&archive, &key).await.unwrap();
    assert_eq!((inline.len(), &*inline[0].name), (1, SUITE));
    assert_eq!(inline[0].release.key, detached[0].release.key);
    assert_eq!(inline[0].release.sha256, detached[0].release.sha256, "the same text");
    let binary = archive.root().join("key.gpg");
    fs::write(&binary, archive.gpg(&["--export"])).unwrap();
    assert_eq!(suites_with(&archive, &binary).await.unwrap().len(), 1, "a keyring without armor");
}

#[tokio::test]
async fn what_was_changed_after_it_was_signed_is_refused() {
    let archive = Archive::new();
    for file in ["InRelease", "Release"] {
        let text = fs::read_to_string(archive.dists(file)).unwrap();
        fs::write(archive.dists(file), text.replace("Origin: Test", "Origin: Rest")).unwrap();
    }
    for error in refusals(&archive, &archive.key()).await {
        assert!(matches!(error, openpgp::Error::Bad { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn what_a_stranger_signed_is_refused() {
    let (archive, stranger) = (Archive::new(), Archive::new());
    for error in refusals(&archive, &stranger.key()).await {
        assert!(matches!(error, openpgp::Error::Unknown { .. }), "{error:?}");
        assert!(error.hint().unwrap().contains("key = FILE"));
    }
}

#[tokio::test]
async fn what_nobody_signed_is_refused() {
    let archive = Archive::new();
    let key = archive.key();
    fs::copy(archive.dists("Release"), archive.dists("InRelease")).unwrap();
    fs::remove_file(archive.dists("Release.gpg")).unwrap();
    for error in refusals(&archive, &key).await {
        assert!(matches!(error, openpgp::Error::Unsigned | openpgp::Error::Form { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn text_around_the_signed_message_is_refused() {
    let archive = Archive::new();
    let key = archive.key();
    let signed = fs::read_to_string(archive.dists("InRelease")).unwrap();
    for text in [format!("{signed}\nOrigin: Other\n"), format!("Origin: Other\n\n{signed}")] {
        fs::write(archive.dists("InRelease"), text).unwrap();
        let error = suites_with(&archive, &key).await.unwrap_err();
        assert!(matches!(error, base::Error::Release(release::Error::Signature { .. })), "{error:?}");
    }
}

#[tokio::test]
async fn a_key_that_was_revoked_signs_nothing_any_more() {
    let archive = Archive::new();
    archive.revoke_key();
    for error in refusals(&archive, &archive.key()).await {
        assert!(matches!(&error, openpgp::Error::Unusable { why, .. } if why == "was revoked"), "{error:?}");
    }
}

#[tokio::test]
async fn a_key_that_expired_signs_nothing_any_more() {
    let archive = Archive::empty();
    archive.generate_key(&["--faked-system-time", "20200101T000000"], "1d");
    archive.publish_with(&["--faked-system-time", "20200101T000001"]);
    for error in refusals(&archive, &archive.key()).await {
        assert!(matches!(&error, openpgp::Error::Unusable { why, .. } if why.contains("2020-01-02")), "{error:?}");
    }
}

#[tokio::test]
async fn a_signature_for_some_time_only_expires() {
    let archive = Archive::empty();
    archive.generate_key(&["--faked-system-time", "20200101T000000"], "never");
    archive.publish_with(&["--faked-system-time", "20200101T000001", "--default-sig-expire", "1d"]);
    for error in refusals(&archive, &archive.key()).await {
        assert!(matches!(&error, openpgp::Error::Expired { on, .. } if on == "2020-01-02"), "{error:?}");
    }
}

#[tokio::test]
async fn a_release_past_its_time_or_of_another_suite_or_archive_is_refused() {
    let archive = Archive::new();
    let key = archive.key();
    archive.publish(&format!("Valid-Until: {}\n", date(SystemTime::now() - Duration::from_secs(1))));
    let error = suites_with(&archive, &key).await.unwrap_err();
    assert!(matches!(error, base::Error::Release(release::Error::Expired { .. })), "{error:?}");
    archive.publish(&format!("Valid-Until: {}\n", date(SystemTime::now() + Duration::from_secs(600))));
    assert!(suites_with(&archive, &key).await.is_ok());
    for (from, to) in [("Origin: Test", "Origin: Other"), (SUITE, "sid")] {
        archive.publish("");
        let text = fs::read_to_string(archive.dists("Release")).unwrap();
        fs::write(archive.dists("Release"), text.replace(from, to)).unwrap();
        archive.sign(&[]);
        let error = suites_with(&archive, &key).await.unwrap_err();
        let refused =
            matches!(error, base::Error::OtherArchive { .. } | base::Error::Release(release::Error::OtherSuite { .. }));
        assert!(refused, "{error:?}");
    }
}

#[tokio::test]
async fn a_package_with_another_hash_is_not_kept() {
    let archive = Archive::new();
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let path = archive.deb("hello", "1.0");
    let bytes = fs::read(&path).unwrap();
    let deb = Deb {
        url: format!("{}/pool/hello_1.0_amd64.deb", archive.url()).parse().unwrap(),
        sha256: dlpack::oci::Digest::of(&bytes),
        size: bytes.len() as u64,
    };
    let mut changed = bytes.clone();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(&path, changed).unwrap();
    let http = Http::new().unwrap();
    let error = fetch::debs(&http, std::slice::from_ref(&deb), &store, &Progress::silent()).await.unwrap_err();
    let mismatch = matches!(&error, download::Error::Keep { source: store::Error::Mismatch { .. }, .. });
    assert!(mismatch, "{error:?}");
    assert_eq!(store.size(Area::Downloads, &deb.sha256), None);
    fs::write(&path, bytes).unwrap();
    fetch::debs(&http, std::slice::from_ref(&deb), &store, &Progress::silent()).await.unwrap();
    assert_eq!(store.size(Area::Downloads, &deb.sha256), Some(deb.size), "the next run works");
}

#[tokio::test]
async fn this_machines_archive_is_verified_and_has_a_minimal_system() {
    let codename = crate::support::rootfs::release();
    let components = ["main".to_owned()];
    let wanted = Wanted {
        archive: "debian",
        suite: &codename,
        mirror: None,
        components: &components,
        packages: &[],
        key: None,
        architecture: "amd64",
    };
    let http = Http::new().unwrap();
    let suites = base::suites(&http, &wanted, Path::new(sources::DIRECTORY), SystemTime::now()).await.unwrap();
    assert_eq!(suites[0].name, codename);
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let packages = base::packages(&http, &wanted, &suites, &store, &Progress::silent()).await.unwrap();
    let names: Vec<&str> = packages.iter().map(|package| &*package.name).collect();
    for name in ["apt", "base-files", "dpkg", "libc6", "perl-base"] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    for name in ["perl", "usrmerge", "gawk"] {
        assert!(!names.contains(&name), "{name} is not essential: {names:?}");
    }
}

#[test]
fn the_sources_of_apt_are_read_in_both_forms() {
    let directory = TempDir::new().unwrap();
    let parts = directory.path().join("sources.list.d");
    fs::create_dir(&parts).unwrap();
    let line = "# a comment\ndeb [arch=amd64 signed-by=/k.gpg] http://a.example/d stable main\ndeb-src http://s.example/d stable main\n";
    fs::write(directory.path().join("sources.list"), line).unwrap();
    let stanzas = "Types: deb\nURIs: http://b.example/d/\nSuites: stable stable-updates\nComponents: main\nSigned-By:\n -----BEGIN PGP\n .\n x\n\nEnabled: no\nTypes: deb\nURIs: http://c.example\nSuites: x\n";
    fs::write(parts.join("b.sources"), stanzas).unwrap();
    fs::write(parts.join("ignored.save"), "deb http://d.example x y\n").unwrap();
    let entries = sources::entries(directory.path());
    let told: Vec<(&str, usize)> = entries.iter().map(|entry| (entry.url.as_str(), entry.suites.len())).collect();
    assert_eq!(told, [("http://a.example/d", 1), ("http://b.example/d/", 2)]);
    assert_eq!(entries[0].signed_by.as_deref(), Some("/k.gpg"));
    assert!(entries[1].signed_by.as_deref().unwrap().starts_with("-----BEGIN"));
}

/// How an archive goes wrong before a recipe reads it.
type Spoil = fn(&Archive);

#[test]
fn a_bad_archive_is_told_with_its_address_and_a_hint_and_nothing_is_left() {
    let none: Spoil = |_| {};
    let unsigned: Spoil = |archive| {
        fs::copy(archive.dists("Release"), archive.dists("InRelease")).unwrap();
    };
    let changed: Spoil = |archive| {
        let text = fs::read_to_string(archive.dists("InRelease")).unwrap();
        fs::write(archive.dists("InRelease"), text.replace("Origin: Test", "Origin: Rest")).unwrap();
    };
    let past: Spoil = |archive| archive.publish("Valid-Until: Thu, 01 Jan 2015 00:00:00 UTC\n");
    let cases: [(&str, Spoil, &[&str]); 5] = [
        ("a stranger's key", none, &["InRelease can't be trusted", "it is signed by", "hint: take the archive's"]),
        ("no signature", unsigned, &["InRelease can't be trusted", "it has no signature", "hint: dlpack takes no"]),
        ("another text", changed, &["InRelease can't be trusted", "is not over this", "hint: something between"]),
        ("an old Release", past, &["InRelease was valid until Thu, 01 Jan 2015", "hint: the mirror is out of date"]),
        ("a revoked key", Archive::revoke_key, &["InRelease can't be trusted", "which was revoked", "hint: take the"]),
    ];
    for (case, spoil, says) in cases {
        let (archive, stranger, home) = (Archive::new(), Archive::new(), Dlpack::new());
        spoil(&archive);
        let key = if case == "a stranger's key" { stranger.key() } else { archive.key() };
        home.write("key.asc", &fs::read_to_string(key).unwrap());
        let url = archive.url();
        home.write(
            "dlpack.toml",
            &format!("base = {{ archive = \"test\", suite = \"{SUITE}\", mirror = \"{url}\", key = \"key.asc\" }}\n"),
        );
        let said = home.refuses(6, ["lock"]);
        for part in says.iter().copied().chain(["can't resolve the base", &*url]) {
            assert!(said.contains(part), "{case}: {part} is not in\n{said}");
        }
        let scratch = fs::read_dir(home.store().join("scratch")).map_or(0, Iterator::count);
        assert_eq!((scratch, home.leftovers()), (0, 0), "{case} left something behind");
        assert!(!home.work().join("dlpack.lock").exists(), "{case}");
    }
}

#[test]
fn a_base_of_this_machines_archive_is_made_by_an_ordinary_user_and_is_a_whole_system() {
    let dlpack = Dlpack::unprivileged();
    // without apt's caches, whose bytes differ each time they are written
    let script = "dpkg --audit; apt-get check -qq -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=\n\
                  tini --version; test ! -e /usr/sbin/policy-rc.d\n\
                  stat -c '%U:%G %a' /usr/bin/chage /var/mail >/seen";
    let recipe = format!(
        "base = {{ archive = \"debian\", suite = \"{}\", packages = [\"tini\"] }}\n\
         [[layer]]\nkind = \"run\"\ncommand = '''{script}'''\n",
        crate::support::rootfs::release()
    );
    dlpack.write("dlpack.toml", &recipe);
    let digest = dlpack.ok(["build"]);
    let lock = fs::read_to_string(dlpack.work().join("dlpack.lock")).expect("a lock");
    for part in ["name = \"tini\"", "name = \"apt\"", "signed-by = \"", "release = \"sha256:"] {
        assert!(lock.contains(part), "{part} is not in\n{lock}");
    }

    // three layers: unpacked, configured, and the step's
    let layers = dlpack.layers_of(&digest);
    assert_eq!(layers.len(), 3);
    assert_eq!(content(&dlpack, &layers[2], "seen"), "root:shadow 2755\nroot:mail 2775\n", "as root would have it");
    let history = dlpack.config_of(&digest)["history"].to_string();
    assert!(history.contains("dlpack base unpack") && history.contains("dlpack base configure"), "{history}");

    // what is known by its digest is not made again, even if its keys are forgotten
    fs::remove_dir_all(dlpack.store().join("keys")).expect("removed");
    let ran = dlpack.run(["build", "--verbose"]);
    assert_eq!((ran.status, ran.stdout.trim()), (0, &*digest), "{}", ran.stderr);
    assert!(!ran.stderr.contains("build base"), "{}", ran.stderr);

    // what is gone is made again of the packages that the lock names, and comes to the same
    for gone in ["blobs", "keys", "rootfs"] {
        fs::remove_dir_all(dlpack.store().join(gone)).expect("removed");
    }
    assert_eq!(dlpack.ok(["build"]), digest);

    // a dlpack that compresses otherwise has locked another digest of the same files
    let annotations = &dlpack.stored(&digest)["annotations"];
    let base = annotations["org.opencontainers.image.base.digest"].as_str().expect("a digest");
    let other = format!("sha256:{}", "0".repeat(64));
    dlpack.write("dlpack.lock", &lock.replace(base, &other));
    let ran = dlpack.run(["build"]);
    assert_eq!((ran.status, ran.stdout.trim()), (0, &*digest), "{}", ran.stderr);
    assert!(ran.stderr.contains("the base has the locked files, compressed otherwise"), "{}", ran.stderr);
    // other files are another base
    let config = dlpack.config_of(&digest);
    let files = config["rootfs"]["diff_ids"][1].as_str().expect("a DiffID");
    dlpack.write("dlpack.lock", &lock.replace(base, &other).replace(files, &other));
    let refused = dlpack.fails(["build"]);
    assert!(refused.contains("the base comes to") && refused.contains("`dlpack lock`"), "{refused}");
}

/// The content of `path` in the layer `digest`.
fn content(dlpack: &Dlpack, digest: &str, path: &str) -> String {
    let blob = flate2::read::MultiGzDecoder::new(fs::File::open(dlpack.blob(digest)).expect("a blob"));
    let mut archive = tar::Archive::new(blob);
    let mut entries = archive.entries().expect("entries").map(|entry| entry.expect("an entry"));
    let mut found = entries.find(|entry| entry.path().expect("a path").to_str() == Some(path)).expect("the path");
    let mut content = String::new();
    found.read_to_string(&mut content).expect("text");
    content
}
