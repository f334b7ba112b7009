//! A process that runs a step which never ends, to be killed.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use dlpack::sandbox::{Mount, MountKind, Step};

use super::sandbox::{Bench, chain};

/// Set in the victim: the directory that it works in.
const VICTIM: &str = "DLPACK_TEST_VICTIM";

/// A process with a step in it.
pub struct Victim {
    pub child: Child,
    stderr: BufReader<ChildStderr>,
    /// Where its sandboxes are.
    pub scratch: PathBuf,
    /// What all processes of the step, and nobody else, hold open for writing.
    held: File,
}

/// Becomes the victim if this process was started as one.
pub fn be_one() {
    let Some(directory) = std::env::var_os(VICTIM).map(PathBuf::from) else { return };
    let bench = Bench { directory: tempfile::TempDir::new_in(&directory).unwrap() };
    let mut host = bench.host();
    host.scratch = directory.join("scratch");
    let mut sandbox = bench.open_with(host, &[&super::sandbox::root()]);
    // a daemon that no signal of a terminal reaches, and a process that ignores what it can
    let script = "exec 3<>/shared/fifo; setsid sh -c 'setsid sleep 1000 & exec sleep 1000' & trap '' TERM INT HUP; \
                  echo started; while :; do sleep 1000; done";
    let shared = Mount { from: directory.join("shared"), to: "/shared".into(), kind: MountKind::Writable };
    let step = Step::new(["sh", "-c", script]).mount(shared);
    let ended = sandbox.run(&step, &mut |printed| eprint!("{}", String::from_utf8_lossy(printed)));
    eprintln!("ended: {}", chain(&ended.unwrap_err()));
    std::process::exit(0);
}

impl Victim {
    /// Starts one for the test `name`, in `directory`, and waits until its step runs.
    pub fn start(name: &str, directory: &Path) -> Self {
        let shared = directory.join("shared");
        fs::create_dir_all(&shared).unwrap();
        let fifo = shared.join("fifo");
        super::output(Command::new("mkfifo").arg(&fifo), "coreutils");
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", name, "--nocapture"]).env(VICTIM, directory);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        assert_eq!(line, "started\n");
        let scratch = directory.join("scratch");
        // in a chroot a mount is a copy
        let copy = scratch.join(left(&scratch).first().expect("a sandbox")).join("root/shared/fifo");
        let held = File::open(if copy.exists() { copy } else { fifo }).unwrap();
        Self { child, stderr, scratch, held }
    }

    /// Its sandbox's first process.
    pub fn helper(&self) -> i32 {
        let path = format!("/proc/{0}/task/{0}/children", self.child.id());
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap_or_else(|_| panic!("no {path}"));
        let children = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("children")).unwrap());
        children.collect::<String>().split_whitespace().next().expect("a child").parse().unwrap()
    }

    /// Waits until no process of the step is left, and returns what the victim said since.
    pub fn wait(&mut self) -> String {
        // a FIFO ends when nobody has it open for writing
        self.held.read_to_end(&mut Vec::new()).unwrap();
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        self.child.wait().unwrap();
        said
    }
}

/// The names of the sandboxes' directories.
pub fn left(scratch: &Path) -> Vec<String> {
    let entries = fs::read_dir(scratch).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The processes that descend from `ancestor`.
pub fn descendants(ancestor: u32) -> Vec<u32> {
    let mut all = vec![ancestor];
    let mut at = 0;
    while let Some(parent) = all.get(at).copied() {
        at += 1;
        for task in fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten() {
            let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(text.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    all.split_off(1)
}

/// Waits until none of the processes is a command of a step, all of which are `sleep`, or
/// one of a sandbox. Others may have got their numbers.
pub fn wait_for(processes: &[u32]) {
    let is_of_the_build = |pid: &u32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with("sleep\0") || line.contains("\0sandbox-helper\0")
    };
    while processes.iter().any(is_of_the_build) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
