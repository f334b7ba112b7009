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
