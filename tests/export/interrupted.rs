//! Ctrl-C in the middle of an export.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{Many, leftovers};
use crate::support::command::Dlpack;

/// Keeps whoever opens a file waiting.
struct Lease {
    holder: Child,
    said: BufReader<ChildStdout>,
}

impl Lease {
    fn take(path: &Path) -> Self {
        let mut python = Command::new("python3");
        python.args(["-c", include_str!("../support/lease.py")]).arg(path);
        let mut holder = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3");
        let said = BufReader::new(holder.stdout.take().expect("piped"));
        let mut lease = Self { holder, said };
        lease.hear("held\n");
        lease
    }

    /// Waits until the holder says so.
    fn hear(&mut self, word: &str) {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("a line");
        assert_eq!(line, word);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).expect("sent");
}

/// Whether `child` has a file of `directory` open, by proc(5).
fn has_open_below(child: &Child, directory: &Path) -> bool {
    let open = fs::read_dir(format!("/proc/{}/fd", child.id())).expect("its files");
    open.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|path| path.starts_with(directory)))
}

#[test]
fn an_interrupted_export_leaves_no_file_though_what_it_reads_hangs() {
    let many = Many::new();
    let dlpack = Dlpack::new();
    let digest = dlpack.ok(["pull", &many.name()]);
    let layers = dlpack.layers_of(&digest);
    for (format, file) in [("oci-archive", "it.oci.tar"), ("docker-archive", "it.tar")] {
        // it is written as far as the first layer, and waits for the second
        let mut lease = Lease::take(&dlpack.blob(&layers[1]));
        let mut export = dlpack.command(["export", &many.name(), "--format", format, "-o", file]);
        let mut child = export.stderr(Stdio::piped()).spawn().expect("it starts");
        lease.hear("wanted\n");
        assert!(has_open_below(&child, &dlpack.work()), "{format}: it has begun");
        interrupt(&child);
        let mut said = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut said).expect("UTF-8");
        assert_eq!(child.wait().expect("waited").code(), Some(130), "{format}: {said}");
        assert!(said.contains("error: interrupted\n"), "{format}: {said}");
        assert_eq!(leftovers(&dlpack.work()), [""; 0], "{format}");
        drop(lease);
        dlpack.ok(["export", &many.name(), "--format", format, "-o", file]);
        fs::remove_file(dlpack.work().join(file)).expect("it is there");
    }
    assert_eq!(dlpack.leftovers(), 0);
}

#[test]
fn a_venv_whose_export_was_interrupted_is_not_there_and_the_next_clears_up() {
    let dlpack = Dlpack::new();
    super::venv::recipe(&dlpack, "\"six==1.16.0\"");
    dlpack.ok(["export", "venv", "before"]);
    let unpacked = walkdir::WalkDir::new(dlpack.store().join("unpacked")).into_iter().flatten();
    let six = unpacked.map(walkdir::DirEntry::into_path).find(|path| path.ends_with("six.py")).expect("six");
    let mut lease = Lease::take(&six);
    let mut child = dlpack.command(["export", "venv"]).stderr(Stdio::null()).spawn().expect("it starts");
    lease.hear("wanted\n");
    let unfinished = || leftovers(&dlpack.work()).into_iter().filter(|name| name.starts_with(".dlpack-")).count();
    assert_eq!(unfinished(), 1);
    interrupt(&child);
    assert_eq!(child.wait().expect("waited").code(), Some(130));
    assert!(!dlpack.work().join(".venv").exists());
    drop(lease);
    dlpack.ok(["export", "venv"]);
    assert_eq!(unfinished(), 0);
    assert!(dlpack.work().join(".venv/bin/python").exists());
}

#[test]
fn an_export_that_is_interrupted_while_nobody_reads_it_ends() {
    let many = Many::new();
    let dlpack = Dlpack::new();
    dlpack.ok(["pull", &many.name()]);
    let mut export = dlpack.command(["export", &many.name(), "--format", "docker-archive", "-o", "-"]);
    let mut child = export.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut stdout = child.stdout.take().expect("piped");
    // more than a pipe holds is to come
    let mut some = [0; 1];
    stdout.read_exact(&mut some).expect("it begins");
    interrupt(&child);
    assert_eq!(child.wait().expect("waited").code(), Some(130));
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).expect("read");
    // POSIX pax, "ustar Archive": "At the end of the archive file there shall be two 512-byte blocks filled with zeros"
    assert!(!rest.ends_with(&[0; 1024]), "it looks whole");
}
