//! Commands run on a root filesystem without privileges.

use dlpack::sandbox::{Ending, Error, Step};

use super::support::sandbox::{Bench, as_user, run, shell};

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
        assert_eq!(shell(&mut sandbox, "ls /proc | grep -c '^[0-9]'; readlink /proc/self"), "3\n5");
        assert_eq!(shell(&mut sandbox, "echo x >/dev/null; head -c 3 /dev/zero | wc -c; ls /dev | xargs"), "");
        assert_eq!(shell(&mut sandbox, "awk 'NR > 2 { print $1 }' /proc/net/dev; cat /sys/class/net/lo/flags"), "lo:\n0x9");
        assert_eq!(shell(&mut sandbox, "python3 -c 'import pty; pty.spawn([\"tty\"])'"), "/dev/pts/0");
        assert_eq!(shell(&mut sandbox, "touch /sys/x 2>&1 || true"), "touch: cannot touch '/sys/x': Read-only file system");
    });
}

#[test]
fn a_step_on_the_network_has_the_resolver_and_the_certificates_of_the_machine() {
    as_user("sandbox::a_step_on_the_network_has_the_resolver_and_the_certificates_of_the_machine", || {
        let bench = Bench::new();
        let mut sandbox = bench.open();
        let (printed, result) = run(&mut sandbox, &Step::new(["sh", "-c", "cat /etc/resolv.conf; echo $SSL_CERT_FILE; ls -la /dev/dlpack; ls /sys/class/net"]).on_network());
        result.unwrap();
        assert_eq!(printed, "");
    });
}
