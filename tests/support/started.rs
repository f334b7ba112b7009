//! A container that a runtime's client stays attached to.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use rustix::process::{Pid, Signal};

use super::container::PATIENCE;

/// A running container, which is asked to end when it is dropped.
pub struct Started {
    client: Child,
    log: Receiver<String>,
    seen: Vec<String>,
}

impl Started {
    /// Starts the container with a client that passes signals on and prints what the
    /// container does.
    pub fn spawn(client: &mut Command) -> Self {
        client.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut client = client.spawn().unwrap_or_else(|error| panic!("can't run {client:?}: {error}"));
        let (lines, log) = mpsc::channel();
        follow(client.stdout.take().expect("a pipe"), lines.clone());
        follow(client.stderr.take().expect("a pipe"), lines);
        Self { client, log, seen: Vec::new() }
    }

    /// The first line with `text` in it, once it is there.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> String {
        if let Some(line) = self.seen.iter().find(|line| line.contains(text)) {
            return line.clone();
        }
        loop {
            match self.log.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(error) => panic!("{error} while waiting for `{text}` in\n{}", self.seen.join("\n")),
            }
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(Pid::from_child(&self.client), Signal::TERM);
        let _ = self.client.wait();
    }
}

fn follow(pipe: impl Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        BufReader::new(pipe).lines().map_while(Result::ok).all(|line| lines.send(line).is_ok());
    });
}
