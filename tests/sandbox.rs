//! Commands run on a root filesystem without privileges.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use dlpack::layer::Attributes;
use dlpack::sandbox::{ChangeKind, Ending, Error, Fallback, Mount, MountKind, Refusal, Sandbox, Step};

use super::support::output;
use super::support::sandbox::{Bench, as_root_under, as_user, chain, refusing, root, run, shell, under};
use super::support::victim::{self, Victim};

#[test]
fn an_ordinary_user_runs_a_command_as_root_on_a_root_filesystem() {
    as_user("sandbox::an_ordinary_user_runs_a_command_as_root_on_a_root_filesystem", || {
        let bench = Bench::new();
        let mut sandbox = bench.open();
        assert_eq!(shell(&mut sandbox, "id -u; id -g; echo $$; hostname; pwd"), "0\n0\n2\nsandbox\n/");
        shell(&mut sandbox, "echo hello >/etc/motd; rm /etc/debian_version; mkdir -p /a/b");
        assert_eq!(shell(&mut sandbox, "cat /etc/motd; ls -d /a/b /etc/debian_version || true").lines().count(), 3);
        let (printed, result) = run(&mut sandbox, &Step::new(["sh", "-c", "echo out; echo err >&2; exit 3"]));
        assert_eq!(printed, "out\nerr\n");
        assert!(matches!(result, Err(Error::Step { ending: Ending::Exit(3), .. })), "{result:?}");
        let directory = sandbox.directory().to_owned();
        drop(sandbox);
        assert!(!directory.exists());
    });
}

#[test]
fn a_step_has_its_own_processes_devices_and_network() {
    as_user("sandbox::a_step_has_its_own_processes_devices_and_network", || {
        let bench = Bench::new();
        let mut sandbox = bench.open();
        let processes = shell(&mut sandbox, "set -- /proc/[0-9]*; echo $*; cat /proc/1/comm");
        assert_eq!(processes, "/proc/1 /proc/2\ndlpack", "process 1, and the shell");
        assert_eq!(shell(&mut sandbox, "echo x >/dev/null; head -c 3 /dev/zero | wc -c; ls /dev | xargs"), DEVICES);
        assert_eq!(
            shell(&mut sandbox, "awk 'NR > 2 { print $1 }' /proc/net/dev; cat /sys/class/net/lo/flags"),
            "lo:\n0x9"
        );
        assert_eq!(shell(&mut sandbox, "python3 -c 'import pty; pty.spawn([\"tty\"])'"), "/dev/pts/0");
        let refused = shell(&mut sandbox, "touch /sys/x 2>&1 || true; ls /proc/1/fd/ 2>&1 || true");
        assert!(refused.contains("Read-only file system") && refused.contains("Permission denied"), "{refused}");
    });
}

/// What is in a sandbox's /dev.
const DEVICES: &str = "3\nfd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero";

#[test]
fn a_step_on_the_network_has_the_resolver_and_the_certificates_of_the_machine() {
    let name = "sandbox::a_step_on_the_network_has_the_resolver_and_the_certificates_of_the_machine";
    // any file is a bundle to the sandbox
    let machine = ["env", "SSL_CERT_FILE=/etc/os-release", "http_proxy=http://127.0.0.1:9"];
    under(name, &machine, || {
        let bench = Bench::new();
        let mut sandbox = bench.open();
        let script = "cat $SSL_CERT_FILE /etc/resolv.conf; echo $CURL_CA_BUNDLE $http_proxy; \
                      sh -c 'echo x >/etc/resolv.conf' 2>&1 || true";
        let (printed, result) = run(&mut sandbox, &Step::new(["sh", "-euc", script]).on_network());
        result.unwrap();
        let of_machine = |path| fs::read_to_string(path).unwrap();
        let told = "/dev/dlpack/ca-certificates.crt http://127.0.0.1:9";
        let refused = "sh: 1: cannot create /etc/resolv.conf: Read-only file system";
        let expected = [of_machine("/etc/os-release"), of_machine("/etc/resolv.conf"), format!("{told}\n{refused}\n")];
        assert_eq!(printed, expected.concat());
        let alone =
            shell(&mut sandbox, "echo ${SSL_CERT_FILE-none} ${http_proxy-none}; ls -A /dev/dlpack 2>&1 || true");
        assert!(alone.starts_with("none none\nls: cannot access"), "{alone}");
    });
}

/// What must work wherever a sandbox opens.
fn is_whole(sandbox: &mut Sandbox) {
    let script = "mkdir -p /new/dir; echo text >/new/dir/file; mv /new /renamed; rm -r /usr/share/zoneinfo; \
                  chmod 000 /renamed/dir/file; ln -s /etc/passwd /link; echo gone >/dev/null";
    shell(sandbox, script);
    assert_eq!(
        shell(sandbox, "cat /renamed/dir/file; ls /usr/share/zoneinfo 2>&1 | wc -l; head -c 5 /link"),
        "text\n1\nroot:"
    );
    let (_, result) = run(sandbox, &Step::new(["sh", "-c", "sleep 1000 & kill -9 $$"]));
    assert!(matches!(result, Err(Error::Step { ending: Ending::Signal(9), .. })), "{result:?}");
}

#[test]
fn scratch_on_an_overlay_lets_the_upper_directory_be_in_memory() {
    let script = "cd $(mktemp -d); mkdir lower upper work merged; \
                  mount -t overlay -o userxattr,lowerdir=lower,upperdir=upper,workdir=work overlay merged; \
                  TMPDIR=$PWD/merged; export TMPDIR; \"$@\"; status=$?; umount merged; rm -rf $PWD; exit $status";
    let wrapper = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh"];
    under("sandbox::scratch_on_an_overlay_lets_the_upper_directory_be_in_memory", &wrapper, || {
        let bench = Bench::new();
        let mut sandbox = bench.open();
        assert_eq!(*sandbox.fallbacks(), BTreeSet::from([Fallback::UpperInMemory]));
        is_whole(&mut sandbox);
    });
}

#[test]
fn without_overlayfs_the_root_filesystem_is_copied() {
    let wrapper = refusing(&["mount-new=EPERM"]);
    under("sandbox::without_overlayfs_the_root_filesystem_is_copied", &wrapper, || {
        let bench = Bench::new();
        let mut sandbox = bench.open();
        assert_eq!(*sandbox.fallbacks(), BTreeSet::from([Fallback::Copy]));
        is_whole(&mut sandbox);
        assert!(root().join("usr/share/zoneinfo").is_dir(), "the base was written to");
    });
}

#[test]
fn under_a_masked_proc_a_step_sees_the_machines() {
    let script = "mount -t tmpfs tmpfs /proc/sys; exec \"$@\"";
    let wrapper = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh"];
    under("sandbox::under_a_masked_proc_a_step_sees_the_machines", &wrapper, || {
        let bench = Bench::new();
        let mut sandbox = bench.open();
        assert_eq!(*sandbox.fallbacks(), BTreeSet::from([Fallback::HostProc]));
        // neither dlpack nor its helper shows a step this machine's files
        let outside = env!("CARGO_MANIFEST_DIR");
        let seen = shell(
            &mut sandbox,
            &format!("for at in /proc/[0-9]*/root; do ls -d $at{outside} 2>/dev/null || true; done"),
        );
        assert_eq!(seen, "");
        is_whole(&mut sandbox);
    });
}

#[test]
fn without_network_namespaces_a_step_is_on_the_machines_network() {
    let wrapper = refusing(&["clone-net=ENOSPC"]);
    under("sandbox::without_network_namespaces_a_step_is_on_the_machines_network", &wrapper, || {
        let bench = Bench::new();
        let mut sandbox = bench.open();
        is_whole(&mut sandbox);
        assert_eq!(*sandbox.fallbacks(), BTreeSet::from([Fallback::HostNetwork]));
    });
}

/// What must work where steps are real root: owners are real inside, and in what changed.
fn gives_owners(mut sandbox: Sandbox) {
    shell(
        &mut sandbox,
        "install -o 1 -g 2 -m 4755 /bin/true /srv/owned; ln -s owned /srv/link; chown -h 3:4 /srv/link",
    );
    assert_eq!(shell(&mut sandbox, "stat -c '%u:%g %a' /srv/owned /srv/link"), "1:2 4755\n3:4 777");
    shell(&mut sandbox, "mkdir -m 1777 /srv/open; useradd --groups mail --user-group --uid 1234 worker");
    let as_worker =
        Step { user: Some("worker".into()), ..Step::new(["sh", "-c", "id -u; id -g; id -G; >/srv/open/made"]) };
    let (printed, result) = run(&mut sandbox, &as_worker);
    result.unwrap();
    assert_eq!(printed, "1234\n1234\n1234 8\n");
    let owners: Vec<_> = changed(sandbox).into_iter().filter(|entry| entry.0.starts_with("srv")).collect();
    let expected = [
        ("srv/link", 0o777, (3, 4)),
        ("srv/open", 0o1777, (0, 0)),
        ("srv/open/made", 0o644, (1234, 1234)),
        ("srv/owned", 0o4755, (1, 2)),
    ];
    assert_eq!(owners, expected.map(|(path, mode, owner)| (path.to_owned(), mode, owner)));
}

/// The paths that changed, with mode and owner.
fn changed(sandbox: Sandbox) -> Vec<(String, u32, (u32, u32))> {
    let mut changed = Vec::new();
    let read = sandbox.changes::<Error>(&mut |change, _| {
        let Attributes { mode, uid, gid } = change.attributes;
        changed.push((change.path, mode, (uid, gid)));
        Ok(true)
    });
    read.unwrap_or_else(|error| panic!("{}", chain(&error)));
    changed
}

/// Writes through one of two names that a file has in the base, and looks what changed.
fn changes_one_name(fallbacks: &[Fallback]) {
    let bench = Bench::new();
    let layer = bench.path("layer");
    fs::create_dir_all(layer.join("srv")).unwrap();
    fs::write(layer.join("srv/a"), "old\n").unwrap();
    fs::hard_link(layer.join("srv/a"), layer.join("srv/b")).unwrap();
    let mut sandbox = bench.open_on(&[&root(), &layer]);
    assert_eq!(*sandbox.fallbacks(), fallbacks.iter().copied().collect());
    shell(&mut sandbox, "echo new >>/srv/a; ln /srv/a /srv/c");
    assert_eq!(shell(&mut sandbox, "cat /srv/b; cat /srv/c"), "old\nold\nnew");
    let mut said = Vec::new();
    let read = sandbox.changes::<Error>(&mut |change, content| {
        let content = std::io::read_to_string(content).unwrap();
        said.push((change.path, change.kind, content));
        Ok(true)
    });
    read.unwrap();
    let link = ChangeKind::HardLink { to: "srv/a".into() };
    let file = ("srv/a".to_owned(), ChangeKind::File { size: 8 }, "old\nnew\n".to_owned());
    assert_eq!(said, [file, ("srv/c".to_owned(), link, String::new())]);
    assert_eq!(fs::read_to_string(layer.join("srv/b")).unwrap(), "old\n");
}

#[test]
fn a_write_through_one_of_two_links_changes_that_one_in_an_overlay() {
    as_user("sandbox::a_write_through_one_of_two_links_changes_that_one_in_an_overlay", || changes_one_name(&[]));
}

#[test]
fn a_write_through_one_of_two_links_changes_that_one_in_a_copy() {
    let name = "sandbox::a_write_through_one_of_two_links_changes_that_one_in_a_copy";
    under(name, &refusing(&["mount-new=EPERM"]), || changes_one_name(&[Fallback::Copy]));
}

#[test]
fn what_a_step_makes_is_closed_to_others_of_this_machine() {
    let name = "sandbox::what_a_step_makes_is_closed_to_others_of_this_machine";
    under(name, &["sh", "-c", "umask 000; exec \"$@\"", "sh"], || {
        let bench = Bench::new();
        let mut sandbox = bench.open();
        shell(&mut sandbox, "cp /bin/true /srv/ours; chmod 4755 /srv/ours");
        assert_eq!(fs::metadata(sandbox.directory()).unwrap().permissions().mode() & 0o7777, 0o700);
    });
}

#[test]
fn root_without_user_namespaces_has_mounts_and_few_capabilities() {
    let wrapper = refusing(&["unshare-user=ENOSPC"]);
    as_root_under("sandbox::root_without_user_namespaces_has_mounts_and_few_capabilities", &wrapper, || {
        let bench = Bench::new();
        let mut sandbox = bench.open();
        assert_eq!(*sandbox.fallbacks(), BTreeSet::from([Fallback::RealRoot]));
        is_whole(&mut sandbox);
        assert_eq!(shell(&mut sandbox, "grep CapEff /proc/self/status"), "CapEff:\t00000000800004fb");
        gives_owners(sandbox);
    });
}

#[test]
fn root_in_a_container_has_a_chroot() {
    let wrapper = refusing(&["unshare=EPERM", "clone-new=EPERM", "mount=EPERM", "pivot_root=EPERM"]);
    as_root_under("sandbox::root_in_a_container_has_a_chroot", &wrapper, || {
        let bench = Bench::new();
        let mut sandbox = bench.open();
        assert_eq!(*sandbox.fallbacks(), BTreeSet::from([Fallback::Chroot]));
        is_whole(&mut sandbox);
        assert_eq!(*sandbox.fallbacks(), BTreeSet::from([Fallback::Chroot, Fallback::HostNetwork]));
        assert_eq!(shell(&mut sandbox, "find /proc /dev/shm"), "/proc\n/dev/shm");
        gives_owners(sandbox);
    });
}

#[test]
fn a_refused_namespace_is_named_with_what_to_do() {
    let name = "sandbox::a_refused_namespace_is_named_with_what_to_do";
    under(name, &refusing(&["unshare=EPERM"]), || {
        let error = Bench::new().refusal();
        assert_eq!(
            chain(&error),
            "this machine lets nobody make a sandbox: a seccomp filter refuses, as in most containers: Operation not permitted (os error 1)"
        );
        assert!(error.hint().unwrap().contains("seccomp=unconfined"));
    });
}

#[test]
fn no_user_namespaces_by_sysctl_is_named_with_the_sysctl() {
    let script = "echo 0 >/proc/sys/user/max_user_namespaces; exec setpriv --inh-caps=-all --ambient-caps=-all \"$@\"";
    let wrapper = ["unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c", script, "sh"];
    under("sandbox::no_user_namespaces_by_sysctl_is_named_with_the_sysctl", &wrapper, || {
        let error = Bench::new().refusal();
        assert_eq!(
            chain(&error),
            "this machine lets nobody make a sandbox: user.max_user_namespaces is 0: No space left on device (os error 28)"
        );
        assert!(error.hint().unwrap().contains("sysctl -w user.max_user_namespaces"));
    });
}

#[test]
fn no_new_privs_is_no_obstacle() {
    under("sandbox::no_new_privs_is_no_obstacle", &["setpriv", "--no-new-privs"], || {
        let bench = Bench::new();
        let mut sandbox = bench.open();
        assert!(sandbox.fallbacks().is_empty());
        is_whole(&mut sandbox);
    });
}

/// Kills with `kill` who runs a step, and looks that nothing of it is left.
fn leaves_nothing(name: &str, kill: impl Fn(&mut Victim)) -> String {
    victim::be_one();
    let bench = Bench::new();
    let mut victim = Victim::start(name, bench.directory.path());
    kill(&mut victim);
    let said = victim.wait();
    // the next sweeps what the dead one could not remove
    let sandbox = bench.open();
    assert_eq!(victim::left(&bench.path("scratch")), [sandbox.directory().file_name().unwrap().to_str().unwrap()]);
    drop(sandbox);
    assert_eq!(victim::left(&bench.path("scratch")), [""; 0]);
    said
}

fn kill_dlpack(victim: &mut Victim) {
    victim.child.kill().unwrap();
}

fn kill_helper(victim: &mut Victim) {
    output(Command::new("kill").args(["-KILL", &victim.helper().to_string()]), "procps");
}

#[test]
fn a_killed_dlpack_leaves_no_process_and_no_mount() {
    let name = "sandbox::a_killed_dlpack_leaves_no_process_and_no_mount";
    as_user(name, || assert_eq!(leaves_nothing(name, kill_dlpack), ""));
}

#[test]
fn a_killed_helper_ends_the_step_and_is_an_error() {
    let name = "sandbox::a_killed_helper_ends_the_step_and_is_an_error";
    as_user(name, || assert!(leaves_nothing(name, kill_helper).contains("the sandbox's first process is gone")));
}

#[test]
fn without_a_process_namespace_nothing_is_left_either() {
    let name = "sandbox::without_a_process_namespace_nothing_is_left_either";
    let wrapper = refusing(&["unshare=EPERM", "clone-new=EPERM", "mount=EPERM", "pivot_root=EPERM"]);
    as_root_under(name, &wrapper, || {
        leaves_nothing(name, kill_dlpack);
        leaves_nothing(name, kill_helper);
    });
}

/// A layer over the shared root, in which `path` leads to a directory outside.
fn leading_out(bench: &Bench, path: &str) -> PathBuf {
    let layer = bench.path("layer");
    let _ = fs::remove_dir_all(&layer);
    fs::create_dir_all(bench.path("outside")).unwrap();
    fs::create_dir_all(layer.join(path).parent().unwrap()).unwrap();
    symlink(bench.path("outside"), layer.join(path)).unwrap();
    layer
}

#[test]
fn a_base_whose_mount_points_are_links_is_refused_and_nothing_outside_is_touched() {
    as_user("sandbox::a_base_whose_mount_points_are_links_is_refused_and_nothing_outside_is_touched", || {
        let bench = Bench::new();
        for path in ["dev", "proc", "sys", "etc"] {
            let layer = leading_out(&bench, path);
            let mut sandbox = bench.open_on(&[&root(), &layer]);
            let (_, result) = run(&mut sandbox, &Step::new(["true"]).on_network());
            let error = result.unwrap_err();
            let Error::Refused(Refusal::MountPoint { path: refused, .. }) = &error else { panic!("{}", chain(&error)) };
            assert!(refused.starts_with(path), "{}", chain(&error));
            assert_eq!(fs::read_dir(bench.path("outside")).unwrap().count(), 0);
        }
        shell(&mut bench.open(), "true");
    });
}

#[test]
fn a_resolv_conf_that_is_a_link_is_covered() {
    as_user("sandbox::a_resolv_conf_that_is_a_link_is_covered", || {
        let bench = Bench::new();
        let layer = leading_out(&bench, "etc/resolv.conf");
        let mut sandbox = bench.open_on(&[&root(), &layer]);
        let (printed, result) = run(&mut sandbox, &Step::new(["cat", "/etc/resolv.conf"]).on_network());
        result.unwrap();
        assert_eq!(printed, fs::read_to_string("/etc/resolv.conf").unwrap());
        assert_eq!(shell(&mut sandbox, "readlink /etc/resolv.conf"), bench.path("outside").to_str().unwrap());
    });
}

#[test]
fn a_workdir_is_made_inside_of_the_root_or_refused() {
    as_user("sandbox::a_workdir_is_made_inside_of_the_root_or_refused", || {
        let bench = Bench::new();
        let layer = leading_out(&bench, "out");
        let mut sandbox = bench.open_on(&[&root(), &layer]);
        let mut pwd = |workdir: &str| {
            let step = Step { workdir: workdir.into(), ..Step::new(["pwd", "-P"]) };
            let (printed, result) = run(&mut sandbox, &step);
            result.map(|()| printed.trim_end().to_owned()).map_err(|error| chain(&error))
        };
        assert_eq!(pwd("/srv/new/dir").unwrap(), "/srv/new/dir");
        assert_eq!(pwd("/bin").unwrap(), "/usr/bin");
        for refused in ["/out", "/out/below", "/../..", "relative", "", "/etc/passwd", "/etc/passwd/below"] {
            let said = pwd(refused).unwrap_err();
            assert!(said.starts_with(&format!("can't work in `{refused}` of the root filesystem: ")), "{said}");
        }
        assert_eq!(fs::read_dir(bench.path("outside")).unwrap().count(), 0);
        assert_eq!(pwd("/").unwrap(), "/");
    });
}

#[test]
fn what_a_command_leaves_running_ends_with_it() {
    as_user("sandbox::what_a_command_leaves_running_ends_with_it", || {
        let bench = Bench::new();
        let mut sandbox = bench.open();
        // a daemon that holds the output open would let its reader wait forever
        assert_eq!(shell(&mut sandbox, "setsid sh -c 'trap \"\" TERM HUP; sleep 1000' & echo done"), "done");
        assert_eq!(shell(&mut sandbox, "set -- /proc/[0-9]*; echo $#"), "2");
    });
}

#[test]
fn a_full_disk_fails_the_step_and_not_the_next() {
    let script = "scratch=$(mktemp -d); mount -t tmpfs -o size=8m tmpfs $scratch; export TMPDIR=$scratch; \"$@\"; \
                  status=$?; umount $scratch; rmdir $scratch; exit $status";
    let wrapper = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh"];
    under("sandbox::a_full_disk_fails_the_step_and_not_the_next", &wrapper, || {
        let bench = Bench::new();
        let mut sandbox = bench.open();
        let (printed, result) = run(&mut sandbox, &Step::new(["dd", "if=/dev/zero", "of=/srv/big", "bs=1M"]));
        assert!(matches!(result, Err(Error::Step { ending: Ending::Exit(1), .. })), "{result:?}");
        assert!(printed.contains("No space left on device"), "{printed}");
        shell(&mut sandbox, "rm /srv/big; echo small >/srv/small");
    });
}

#[test]
fn a_program_that_cannot_be_started_is_named() {
    as_user("sandbox::a_program_that_cannot_be_started_is_named", || {
        let bench = Bench::new();
        let mut sandbox = bench.open();
        shell(
            &mut sandbox,
            "echo text >/usr/bin/broken; chmod 755 /usr/bin/broken; cp /usr/bin/broken /usr/bin/closed; chmod 644 /usr/bin/closed",
        );
        let mut start = |command: &[&str]| run(&mut sandbox, &Step::new(command.iter().copied())).1.unwrap_err();
        let missing = start(&["nosuch", "-x"]);
        assert_eq!(
            chain(&missing),
            "can't run `nosuch` in the root filesystem: No such file or directory (os error 2)"
        );
        assert!(missing.hint().unwrap().contains("PATH"));
        assert!(chain(&start(&["broken"])).ends_with("Exec format error (os error 8)"));
        assert!(chain(&start(&["closed"])).ends_with("Permission denied (os error 13)"));
        assert!(matches!(start(&[]), Error::Refused(Refusal::Program { .. })));
        assert!(matches!(start(&["a\0b"]), Error::Refused(Refusal::Program { .. })));
        // a root with nothing at all in it, not even /proc
        let empty = bench.path("empty");
        fs::create_dir(&empty).unwrap();
        let result = run(&mut bench.open_on(&[&empty]), &Step::new(["sh"])).1;
        assert!(matches!(result, Err(Error::Refused(Refusal::Program { .. }))), "{result:?}");
    });
}

#[test]
fn a_directory_of_the_lower_layers_can_be_renamed() {
    as_user("sandbox::a_directory_of_the_lower_layers_can_be_renamed", || {
        let bench = Bench::new();
        let mut sandbox = bench.open();
        // rename(2) of a lower directory gives EXDEV, which mv and dpkg cope with
        let script = "import os\ntry: os.rename('/usr/share/zoneinfo', '/z')\nexcept OSError as e: print(e.errno)";
        assert_eq!(run(&mut sandbox, &Step::new(["python3", "-c", script])).0, "18\n");
        shell(&mut sandbox, "mv /usr/share/zoneinfo /z; test -e /z/Asia/Seoul; ! test -e /usr/share/zoneinfo");
    });
}

#[test]
fn mounts_are_seen_by_the_step_and_secrets_only_in_memory() {
    as_user("sandbox::mounts_are_seen_by_the_step_and_secrets_only_in_memory", || {
        let bench = Bench::new();
        let [cache, secret] = ["cache", "secret"].map(|name| bench.path(name));
        fs::create_dir(&cache).unwrap();
        fs::write(&secret, "hidden").unwrap();
        let mount = |from: &PathBuf, to: &str, kind| Mount { from: from.clone(), to: to.into(), kind };
        let script = "echo kept >/root/.cache/x/file; ! touch /seen/file 2>/dev/null; stat -c %a,%s /run/secrets/token";
        let step = Step::new(["sh", "-euc", script])
            .mount(mount(&cache, "/root/.cache/x", MountKind::Writable))
            .mount(mount(&cache, "/seen", MountKind::ReadOnly))
            .mount(mount(&secret, "/run/secrets/token", MountKind::Secret));
        let mut sandbox = bench.open();
        let (printed, result) = run(&mut sandbox, &step);
        result.unwrap();
        assert_eq!(printed, "400,6\n");
        assert_eq!(fs::read_to_string(cache.join("file")).unwrap(), "kept\n");
        assert_eq!(shell(&mut sandbox, "ls -d /seen /run/secrets/token 2>&1 | grep -c cannot"), "2");
    });
}
