//! A signal to all of a process group, as batch systems, timeout(1), CI runners and systemd send
//! it, ends nothing of dlpack's own: it is for the command, which has it once.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use super::support::command::Dlpack;
use super::support::sandbox::refusing;
use super::support::tiny;

/// A command that saves when it is told to, and ends in its own way.
const TRAINING: &str = "trap 'echo saved' USR1; trap 'echo on' USR2; \
                        trap 'echo ended; exit 5' TERM; echo ready; while :; do sleep 1000 >/dev/null & wait; done";

/// A program and all of its process group.
struct Group {
    leader: Child,
    stdout: BufReader<ChildStdout>,
}

impl Group {
    /// Starts it, and waits until it has said `ready`.
    #[track_caller]
    fn start(mut command: Command) -> Self {
        let mut leader = command.process_group(0).stdout(Stdio::piped()).spawn().expect("it starts");
        let stdout = BufReader::new(leader.stdout.take().expect("a pipe"));
        let mut group = Self { leader, stdout };
        assert_eq!(group.line(), "ready\n");
        group
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a line");
        line
    }

    fn signal(&self, signal: Signal) {
        kill_process_group(Pid::from_raw(self.leader.id().cast_signed()).expect("a pid"), signal).expect("sent");
    }

    /// What it still says, and its status.
    fn ended(mut self) -> (String, Option<i32>) {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("text");
        (rest, self.leader.wait().expect("waited").code())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // a test that fails leaves nobody behind
        if self.leader.try_wait().is_ok_and(|status| status.is_none()) {
            self.signal(Signal::KILL);
        }
    }
}

/// Tells a group that trains to save, to go on, and to end.
#[track_caller]
fn save_and_end(mut group: Group) {
    group.signal(Signal::USR1);
    assert_eq!(group.line(), "saved\n");
    group.signal(Signal::USR2);
    assert_eq!(group.line(), "on\n");
    group.signal(Signal::TERM);
    assert_eq!(group.ended(), ("ended\n".to_owned(), Some(5)));
}

#[test]
fn a_command_hears_once_what_is_sent_to_all_of_a_process_group() {
    // what a container's profile refuses its root
    let container = refusing(&["unshare=EPERM", "clone-new=EPERM", "mount=EPERM", "pivot_root=EPERM"]);
    // its leader is told, too, as timeout(1) is, and exits as dlpack does
    let script = ["sh", "-c", "trap : USR1 USR2 TERM; \"$@\"; exit $?", "sh"];
    for (dlpack, wrapper) in
        [(Dlpack::unprivileged(), &["env"][..]), (Dlpack::unprivileged(), &script), (Dlpack::new(), &container)]
    {
        tiny::layout(&dlpack.work());
        // as another user than root there is no supervisor
        for user in ["0", "worker"] {
            let run = ["run", "--quiet", "--name", "box", "--user", user, "oci:base"];
            let command = [&run[..], &["sh", "-c", TRAINING]].concat();
            let group = Group::start(dlpack.command_in(wrapper, command));
            // nothing that comes in later is told, or ended
            let exec = dlpack.command_in(wrapper, ["exec", "box", "sh", "-c", TRAINING]);
            save_and_end(Group::start(exec));
            save_and_end(group);
        }
    }
}
