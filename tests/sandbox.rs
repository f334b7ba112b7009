//! Commands run on a root filesystem without privileges.

use std::collections::BTreeSet;
use std::fs;

use dlpack::sandbox::{Ending, Error, Fallback, Sandbox, Step};

use super::support::sandbox::{Bench, as_root_under, as_user, chain, refusing, root, run, shell, under};

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

#[test]
fn root_without_user_namespaces_has_mounts_and_few_capabilities() {
    let wrapper = refusing(&["unshare-user=ENOSPC"]);
    as_root_under("sandbox::root_without_user_namespaces_has_mounts_and_few_capabilities", &wrapper, || {
        let bench = Bench::new();
        let mut sandbox = bench.open();
        assert_eq!(*sandbox.fallbacks(), BTreeSet::from([Fallback::RealRoot]));
        is_whole(&mut sandbox);
        assert_eq!(shell(&mut sandbox, "grep CapEff /proc/self/status"), "CapEff:\t00000000800004fb");
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
        assert_eq!(shell(&mut sandbox, "find /proc /dev/shm"), "/proc\n/dev/shm");
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
