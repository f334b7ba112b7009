//! The least that a shell runs on: busybox with its libraries, in an image layout.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::image::{Layout, Packing, Tar};

/// The line of a recipe for the base that [`layout`] makes in its directory.
pub const BASE: &str = "base = { layout = \"base\" }\n";

const APPLETS: [&str; 24] = [
    "cat", "chmod", "chown", "cp", "dd", "df", "env", "false", "grep", "id", "kill", "ln", "ls", "mkdir", "mkfifo",
    "mv", "nc", "printf", "rm", "seq", "sh", "sleep", "stat", "true",
];

/// Makes the layout `base` in the directory `at`.
pub fn layout(at: &Path) {
    let layout = Layout::create(at.join("base"));
    layout.image().layer(Packing::Gzip, tar()).tagged("base");
}

pub fn tar() -> Tar {
    let mut tar = Tar::new()
        .file("etc/group", "root:x:0:\nstaff:x:50:\n")
        .file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nworker:x:1234:50::/home/worker:/bin/sh\n")
        .owned_file("etc/shadow", 0o640, (0, 42), "root:*:19000:0:99999:7:::\n")
        .directory("home/worker")
        .directory("proc")
        .directory("dev")
        .directory("root")
        .directory("tmp");
    let busybox = PathBuf::from("/bin/busybox");
    let executable = |tar: Tar, path: &Path| {
        let content = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        tar.owned_file(path.to_str().expect("UTF-8").trim_start_matches('/'), 0o755, (0, 0), content)
    };
    tar = executable(tar, &busybox);
    let ldd = super::output(Command::new("ldd").arg(&busybox), "libc-bin");
    for line in String::from_utf8(ldd.stdout).expect("UTF-8").lines() {
        if let Some(library) = line.split_whitespace().find(|word| word.starts_with('/')) {
            tar = executable(tar, Path::new(library));
        }
    }
    APPLETS.iter().fold(tar, |tar, applet| tar.symlink(&format!("bin/{applet}"), "busybox"))
}
