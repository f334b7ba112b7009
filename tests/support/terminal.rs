//! A person at a terminal, with a shell that has job control.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::command::Dlpack;
use super::started::PATIENCE;

/// Ctrl-Z.
pub const SUSPEND: &str = "\x1a";
/// Ctrl-D.
pub const END: &str = "\x04";

/// What the shell says when it waits for a line.
pub const PROMPT: &str = "you> ";

/// A terminal, at which a shell runs until this is dropped.
pub struct Terminal {
    keyboard: File,
    coming: Receiver<Vec<u8>>,
    /// What was shown after what was waited for last.
    shown: String,
    shell: Child,
}

impl Terminal {
    /// One of the user of `dlpack`.
    pub fn open(dlpack: &Dlpack) -> Self {
        Self::of(dlpack, &["bash", "--norc", "--noprofile", "-i"])
    }

    /// One of the user of `dlpack`, of whose session the program `command` is the leader.
    pub fn of(dlpack: &Dlpack, command: &[&str]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let manager = openpt(flags).expect("a terminal");
        unlockpt(&manager).expect("unlocked");
        let theirs = || -> OwnedFd { ioctl_tiocgptpeer(&manager, flags).expect("its other end") };
        let mut shell = dlpack.command_as_user("setsid", [&["--ctty"], command].concat());
        shell.env("PS1", PROMPT).stdin(theirs()).stdout(theirs()).stderr(theirs());
        let shell = shell.spawn().expect("setsid(1) of util-linux");
        let mut screen = File::from(manager.as_fd().try_clone_to_owned().expect("copied"));
        let (show, coming) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = screen.read(&mut buffer) {
                if show.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { keyboard: manager.into(), coming, shown: String::new(), shell }
    }

    pub fn type_in(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).expect("typed");
    }

    /// Waits until `text` is shown, which comes after what was waited for before.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        loop {
            if let Some(at) = self.shown.find(text) {
                self.shown.drain(..at + text.len());
                return;
            }
            match self.coming.recv_timeout(PATIENCE) {
                Ok(bytes) => self.shown.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) => panic!("{error} while waiting for `{text}` in\n{}", self.shown),
            }
        }
    }

    /// Gives it another size.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.keyboard, size).expect("set");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
