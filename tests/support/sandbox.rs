//! A root filesystem to run steps on, and an ordinary user to run them as.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use dlpack::progress::Progress;
use dlpack::sandbox::{Host, Rootfs, Sandbox, Step};
use tempfile::TempDir;

/// A user who has nothing: no name, no group, no subordinate ids.
pub const UID: u32 = 52_341;

/// Set in the process that runs a test as [`UID`].
const INNER: &str = "DLPACK_TEST_AS_USER";

/// Where the shared root filesystem is, told to that process.
const ROOT: &str = "DLPACK_TEST_ROOT";

/// Runs `test`, which is the test `name`, as an ordinary user: if this process is root,
/// in a new one.
#[track_caller]
pub fn as_user(name: &str, test: impl FnOnce()) {
    under(name, &[], test);
}

/// The same, in a process that `wrapper` starts.
#[track_caller]
pub fn under(name: &str, wrapper: &[&str], test: impl FnOnce()) {
    run_as(Some(UID), name, wrapper, test);
}

/// The same as root, which is what a container often gives.
#[track_caller]
pub fn as_root_under(name: &str, wrapper: &[&str], test: impl FnOnce()) {
    run_as(None, name, wrapper, test);
}

/// `refuse.py` with what it refuses.
pub fn refusing(calls: &[&'static str]) -> Vec<&'static str> {
    const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/refuse.py");
    ["python3", SCRIPT].into_iter().chain(calls.iter().copied()).chain(["--"]).collect()
}

#[track_caller]
fn run_as(uid: Option<u32>, name: &str, wrapper: &[&str], test: impl FnOnce()) {
    if std::env::var_os(INNER).is_some() {
        return test();
    }
    let mut command = match wrapper {
        [] => Command::new(this()),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(this());
            command
        }
    };
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(INNER, "1").env("HOME", "/");
    if is_root() {
        // made before, since only root can write where it is kept
        command.env(ROOT, root());
        if let Some(uid) = uid {
            command.uid(uid).gid(uid);
        }
    }
    let output = command.output().expect("the test runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "no test has the name {name}\n{text}");
}

fn this() -> PathBuf {
    std::env::current_exe().expect("a path")
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").expect("/proc").uid() == 0
}

/// The extracted root filesystem, which is [`UID`]'s.
pub fn root() -> PathBuf {
    if let Some(root) = std::env::var_os(ROOT) {
        return root.into();
    }
    let tar = super::rootfs::tar();
    let root = tar.with_extension("root");
    if !root.exists() {
        let _alone = super::rootfs::alone(&root);
        if !root.exists() {
            let unfinished = root.with_extension("unfinished");
            let _ = fs::remove_dir_all(&unfinished);
            fs::create_dir(&unfinished).expect("created");
            std::os::unix::fs::chown(&unfinished, Some(UID), Some(UID)).expect("root may chown");
            let mut command = Command::new("tar");
            command.args(["--extract", "--no-same-owner", "--file"]).arg(&tar).arg("--directory").arg(&unfinished);
            super::output(command.uid(UID).gid(UID), "tar");
            fs::rename(&unfinished, &root).expect("renamed");
        }
    }
    root
}

/// A directory of a test's own, and a host that uses it.
pub struct Bench {
    pub directory: TempDir,
}

impl Bench {
    pub fn new() -> Self {
        Self { directory: tempfile::Builder::new().prefix("dlpack-sandbox-").tempdir().expect("a directory") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn host(&self) -> Host {
        Host {
            program: env!("CARGO_BIN_EXE_dlpack").into(),
            scratch: self.path("scratch"),
            caches: self.path("caches"),
            logs: self.path("logs"),
            secrets: Default::default(),
            shell_on_failure: false,
            progress: Progress::silent(),
        }
    }

    /// What keeps `open` from making a sandbox.
    #[track_caller]
    pub fn refusal(&self) -> dlpack::sandbox::Error {
        match Rootfs::new(vec![root()], Arc::new(self.host())).open() {
            Ok(_) => panic!("a sandbox was made"),
            Err(error) => error,
        }
    }

    /// A sandbox on the shared root filesystem.
    #[track_caller]
    pub fn open(&self) -> Sandbox {
        self.open_on(&[&root()])
    }

    /// A sandbox on `lower`, lowest first.
    #[track_caller]
    pub fn open_on(&self, lower: &[&Path]) -> Sandbox {
        self.open_with(self.host(), lower)
    }

    /// The same with what `host` gives.
    #[track_caller]
    pub fn open_with(&self, host: Host, lower: &[&Path]) -> Sandbox {
        let lower = lower.iter().map(|path| path.to_path_buf()).collect();
        let opened = Rootfs::new(lower, Arc::new(host)).open();
        opened.unwrap_or_else(|error| panic!("{}", chain(&error)))
    }
}

/// What a step printed, and how it ended.
pub fn run(sandbox: &mut Sandbox, step: &Step) -> (String, Result<(), dlpack::sandbox::Error>) {
    let mut printed = Vec::new();
    let result = sandbox.run(step, &mut |bytes| printed.extend_from_slice(bytes));
    (String::from_utf8_lossy(&printed).into_owned(), result)
}

/// What a shell script that must succeed printed, without the last newline.
#[track_caller]
pub fn shell(sandbox: &mut Sandbox, script: &str) -> String {
    let (printed, result) = run(sandbox, &Step::new(["sh", "-euc", script]));
    if let Err(error) = result {
        panic!("{}\n{printed}", chain(&error));
    }
    printed.trim_end().to_owned()
}

/// An error and its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
