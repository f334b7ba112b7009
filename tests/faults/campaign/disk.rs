//! A disk that is full or broken at every write, fsync and rename of a small build, as
//! `strace -e inject` has it (strace(1), "Tampering").

use std::fs;
use std::path::Path;

use super::home::{Home, State};
use super::{Expected, Tally};
use crate::support::command::Ran;

/// System calls that fail together, and how strace names them.
const CALLS: [(&str, &str); 3] = [
    ("write", "write,writev,pwrite64,pwritev,copy_file_range,ftruncate"),
    ("fsync", "fsync,fdatasync,syncfs,sync_file_range"),
    ("rename", "rename,renameat,renameat2"),
];

/// The exit status of a failure that has to do with the machine.
const STATUS_OF_THE_MACHINE: i32 = 7;

/// How long such a build may take, in seconds. Where a call on something else than the store is
/// hit, which no disk does to a process, its threads may wait for each other.
const LONGEST: &str = "60";

/// What strace saw of a run.
enum Injected {
    /// Fewer such calls were made.
    Nothing,
    /// A call on something else than the store: a pipe, a socket, the terminal.
    Elsewhere,
    /// Calls on files of the store.
    Store,
}

/// Lets every `step`th call of each kind fail with ENOSPC, and with EIO. `count` is told of each
/// kind when it is through.
pub fn run(home: &Home, step: usize, count: &mut dyn FnMut(Tally)) {
    for (name, calls) in CALLS {
        for error in ["ENOSPC", "EIO"] {
            let mut tally = Tally::new(format!("build: {error} at a {name}"));
            for nth in (1..).step_by(step) {
                home.restore(State::Fetched);
                let (ran, injected) = with_fault(home, calls, error, nth);
                match injected {
                    Injected::Nothing => break,
                    Injected::Elsewhere => continue,
                    Injected::Store => {}
                }
                tally.count(&format!("{error} at {name} {nth}"), || {
                    let verdict = judge(home, &ran, error);
                    home.assert_heals(&["build"]);
                    verdict
                });
            }
            count(tally);
        }
    }
}

/// Builds while the `nth` call of each thread fails with `error`.
fn with_fault(home: &Home, calls: &str, error: &str, nth: usize) -> (Ran, Injected) {
    let log = home.dlpack.home().join("strace");
    let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:error={error}:when={nth}"));
    let strace = [
        "timeout",
        "--signal=KILL",
        LONGEST,
        "strace",
        "-f",
        "-y",
        "-qqq",
        "-o",
        log.to_str().expect("UTF-8"),
        "-e",
        &trace,
        "-e",
        &inject,
    ];
    let mut command = home.dlpack.command_in(&strace, ["build", "--jobs", "1"]);
    // strace counts for each thread: the fewer there are, the more is the nth call the same each time
    let ran = command.env("TOKIO_WORKER_THREADS", "1").output().map(Ran::from);
    let ran = ran.unwrap_or_else(|error| panic!("can't run strace: {error}\nhint: apt-get install strace"));
    let log = fs::read_to_string(&log).unwrap_or_else(|_| panic!("strace can't trace: {}", ran.stderr));
    (ran, seen(&log, &home.dlpack.store()))
}

fn seen(log: &str, store: &Path) -> Injected {
    let store = store.to_str().expect("UTF-8");
    let mut injected = log.lines().filter(|line| line.contains("(INJECTED)")).peekable();
    if injected.peek().is_none() {
        return Injected::Nothing;
    }
    if injected.all(|line| line.contains(store)) { Injected::Store } else { Injected::Elsewhere }
}

/// Either the image is the right one, or the error says what the disk said, and what to do.
fn judge(home: &Home, ran: &Ran, error: &str) -> Expected {
    if ran.status == 0 {
        assert_eq!(ran.stdout.trim_end(), home.image, "{}", ran.stderr);
        return Expected::Survived;
    }
    let said = if error == "ENOSPC" { "No space left on device" } else { "Input/output error" };
    assert_eq!(ran.status, STATUS_OF_THE_MACHINE, "{}", ran.stderr);
    assert!(ran.stderr.contains("error: ") && ran.stderr.contains(said), "{}", ran.stderr);
    Expected::Refused("Io")
}
