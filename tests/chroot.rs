//! Steps of root in a container, where nothing may be mounted: what they are given lies in
//! their root as copies, which they may move, replace and remove.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use std::sync::Arc;

use dlpack::oci::ContainerConfig;
use dlpack::recipe::Bind;
use dlpack::run::{Container, Devices, Settings, Wanted};
use dlpack::sandbox::{Error, Link, Mount, MountKind, Rootfs, Sandbox, Step};

use super::support::sandbox::{Bench, as_root_under, chain, refusing, root, run};

/// What a container's profile refuses.
const CONTAINER: [&str; 4] = ["unshare=EPERM", "clone-new=EPERM", "mount=EPERM", "pivot_root=EPERM"];

/// Runs a shell script that must succeed, with `mounts`; returns what it printed.
#[track_caller]
fn shell(sandbox: &mut Sandbox, script: &str, mounts: &[Mount]) -> String {
    let step = Step { mounts: mounts.to_vec(), ..Step::new(["sh", "-euc", script]) };
    let (printed, result) = run(sandbox, &step);
    result.unwrap_or_else(|error| panic!("{}\n{printed}", chain(&error)));
    printed.trim_end().to_owned()
}

/// The paths of the layer, each with the content of a file.
fn layer(sandbox: Sandbox) -> Vec<(String, String)> {
    let mut paths = Vec::new();
    let read = sandbox.changes::<Error>(&mut |change, content| {
        paths.push((change.path, std::io::read_to_string(content).unwrap()));
        Ok(true)
    });
    read.unwrap_or_else(|error| panic!("{}", chain(&error)));
    paths
}

fn is(found: Vec<(String, String)>, expected: &[(&str, &str)]) {
    let found: Vec<_> = found.iter().map(|(path, content)| (path.as_str(), content.as_str())).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_step_that_turns_a_way_elsewhere_leads_dlpack_nowhere() {
    let name = "chroot::a_step_that_turns_a_way_elsewhere_leads_dlpack_nowhere";
    as_root_under(name, &refusing(&CONTAINER), || {
        let bench = Bench::new();
        let [cache, outside] = ["cache", "outside"].map(|name| bench.path(name));
        fs::create_dir(&cache).unwrap();
        // what lies outside has the names of what is given
        fs::create_dir_all(outside.join("cache")).unwrap();
        fs::write(outside.join("cache/precious"), "precious").unwrap();
        fs::write(outside.join("null"), "precious").unwrap();
        let mounts = [Mount::new(&cache, "/way/cache", MountKind::Writable)];
        let mut sandbox = bench.open();
        let script = format!(
            "echo kept >/way/cache/new; mv /way /elsewhere; ln -s {outside} /way; \
             rm -r /dev; ln -s {outside} /dev",
            outside = outside.display()
        );
        shell(&mut sandbox, &script, &mounts);
        assert_eq!(fs::read_to_string(outside.join("cache/precious")).unwrap(), "precious");
        assert_eq!(fs::read_to_string(outside.join("null")).unwrap(), "precious");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 2);
        assert_eq!(fs::read_to_string(cache.join("new")).unwrap(), "kept\n");
        assert!(!cache.join("precious").exists(), "what lies outside was copied");
        // the next step has what it is given again, in a root that is whole
        let outside = outside.to_str().unwrap();
        assert_eq!(
            shell(&mut sandbox, "readlink /way; ls -A /elsewhere; ls -d /dev/null", &[]),
            format!("{outside}\ncache\n/dev/null")
        );
        is(layer(sandbox), &[("elsewhere", ""), ("elsewhere/cache", ""), ("way", "")]);
    });
}

#[test]
fn a_device_is_a_node_of_its_own_and_links_lie_in_the_root() {
    let name = "chroot::a_device_is_a_node_of_its_own_and_links_lie_in_the_root";
    as_root_under(name, &refusing(&CONTAINER), || {
        let bench = Bench::new();
        let mut sandbox = bench.open();
        let link = Link { target: "made/gpu0".into(), path: "/dev/gpu".into() };
        let step = Step {
            mounts: vec![Mount::new("/dev/null", "/dev/made/gpu0", MountKind::Device)],
            links: vec![link],
            ..Step::new([
                "sh",
                "-euc",
                "test -c /dev/gpu; stat -Lc %t:%T /dev/gpu; echo nothing >/dev/gpu; echo nothing >/dev/null",
            ])
        };
        // whoever the step runs as
        for user in [None, Some("12:34".to_owned())] {
            let step = Step { user, ..step.clone() };
            let (printed, result) = run(&mut sandbox, &step);
            result.unwrap_or_else(|error| panic!("{}\n{printed}", chain(&error)));
            assert_eq!(printed, "1:3\n");
        }
    });
}

#[test]
fn a_cache_is_as_the_step_left_it() {
    as_root_under("chroot::a_cache_is_as_the_step_left_it", &refusing(&CONTAINER), || {
        let bench = Bench::new();
        let cache = bench.path("cache");
        let mounts = [Mount::new(&cache, "/var/cache/own", MountKind::Writable)];
        fs::create_dir_all(cache.join("old/deep")).unwrap();
        fs::write(cache.join("old/deep/file"), "old").unwrap();
        fs::write(cache.join("stays"), "stays").unwrap();
        let mut sandbox = bench.open();
        let script = "cd /var/cache/own; rm -r old; echo new >new; chown 7:8 new; chmod 4750 new";
        shell(&mut sandbox, script, &mounts);
        let mut names: Vec<_> = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["new", "stays"]);
        let new = fs::metadata(cache.join("new")).unwrap();
        assert_eq!((new.uid(), new.gid(), new.mode() & 0o7777), (7, 8, 0o4750));
        assert_eq!(shell(&mut sandbox, "stat -c '%u:%g %a' /var/cache/own/new", &mounts), "7:8 4750");
        // as where it is mounted, and can be emptied but not removed
        shell(&mut sandbox, "rm -r /var/cache/own", &mounts);
        assert_eq!(fs::read_dir(&cache).unwrap().count(), 0);
        is(layer(sandbox), &[]);
    });
}

#[test]
fn what_a_step_is_given_is_in_no_layer_wherever_it_moves_it() {
    let name = "chroot::what_a_step_is_given_is_in_no_layer_wherever_it_moves_it";
    as_root_under(name, &refusing(&CONTAINER), || {
        let bench = Bench::new();
        let [secret, script, source] = ["secret", "script", "source"].map(|name| bench.path(name));
        fs::write(&secret, "swordfish").unwrap();
        fs::write(&script, "#!/bin/sh\necho given").unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(&source).unwrap();
        fs::write(source.join("file"), "source").unwrap();
        let mounts = [
            Mount::new(&secret, "/run/secrets/token", MountKind::Secret),
            Mount::new(&script, "/new/script", MountKind::ReadOnly),
            Mount::new(&source, "/new/source", MountKind::ReadOnly),
        ];
        let mut sandbox = bench.open();
        let moves = "/new/script; cat /run/secrets/token; ln /run/secrets/token /srv/linked; mv /run/secrets/token /srv/moved; \
                     mv /new/source /srv/source; echo more >/srv/source/more";
        assert_eq!(shell(&mut sandbox, moves, &mounts), "given\nswordfish");
        is(layer(sandbox), &[("srv/linked", ""), ("srv/moved", ""), ("srv/source", "")]);
        assert_eq!(fs::read_to_string(&secret).unwrap(), "swordfish");
        assert_eq!(fs::read_to_string(source.join("file")).unwrap(), "source");
        assert!(!source.join("more").exists());
    });
}

#[test]
fn a_persons_directory_is_not_replaced_by_a_copy() {
    let name = "chroot::a_persons_directory_is_not_replaced_by_a_copy";
    as_root_under(name, &refusing(&CONTAINER), || {
        let bench = Bench::new();
        let data = bench.path("data");
        fs::create_dir(&data).unwrap();
        let rootfs = Rootfs::new(vec![root()], Arc::new(bench.host()));
        let open = |read_only| {
            let bind = Bind { from: data.display().to_string(), to: "/data".to_owned(), read_only };
            let settings = Settings { mounts: vec![bind], ..Settings::default() };
            let wanted = Wanted::Entrypoint("true".to_owned(), Vec::new());
            Container::open(&rootfs, &ContainerConfig::default(), &settings, &Devices::default(), &wanted, None)
                .map(drop)
        };
        let error = open(false).expect_err("it is not mounted");
        assert!(error.to_string().starts_with("can't mount "), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("/data:ro")), "{error}");
        open(true).unwrap_or_else(|error| panic!("{}", chain(&error)));
        let (settings, wanted) = (Settings { read_only: true, ..Settings::default() }, Wanted::Shell);
        let closed =
            Container::open(&rootfs, &ContainerConfig::default(), &settings, &Devices::default(), &wanted, None);
        let error = closed.map(drop).expect_err("all of it can be written");
        assert!(error.to_string().starts_with("can't make the container's root read-only"), "{error}");
    });
}
