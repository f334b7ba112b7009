//! Commands run on a root filesystem without privileges.

use std::fs;

use dlpack::sandbox::{Ending, Error, Step};

use super::support::sandbox::{Bench, as_user, run, shell, under};

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
