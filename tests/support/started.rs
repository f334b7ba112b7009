//! A container that a runtime's client stays attached to, and what it says.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal};

/// How long a container may be silent before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The lines that a process says, as they come.
pub struct Transcript {
    coming: Receiver<String>,
    seen: Vec<String>,
}

impl Transcript {
    /// What comes from `pipes`.
    pub fn of(pipes: Vec<Box<dyn Read + Send>>) -> Self {
        let (lines, coming) = mpsc::channel();
        pipes.into_iter().for_each(|pipe| follow(pipe, lines.clone()));
        Self { coming, seen: Vec::new() }
    }

    /// The first line with `text` in it, once it is there.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> String {
        if let Some(line) = self.seen.iter().find(|line| line.contains(text)) {
            return line.clone();
        }
        loop {
            match self.coming.recv_timeout(PATIENCE) {
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

    /// All of it, when the process has ended.
    pub fn whole(&mut self) -> String {
        self.seen.extend(self.coming.iter());
        self.seen.join("\n")
    }
}

fn follow(pipe: Box<dyn Read + Send>, lines: Sender<String>) {
    thread::spawn(move || {
        BufReader::new(pipe).lines().map_while(Result::ok).all(|line| lines.send(line).is_ok());
    });
}

/// A running container, which is asked to end when it is dropped.
pub struct Started {
    client: Child,
    said: Transcript,
}

impl Started {
    /// Starts the container with a client that passes signals on and prints what the
    /// container does.
    pub fn spawn(client: &mut Command) -> Self {
        client.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut client = client.spawn().unwrap_or_else(|error| panic!("can't run {client:?}: {error}"));
        let (stdout, stderr) = (client.stdout.take().expect("a pipe"), client.stderr.take().expect("a pipe"));
        Self { client, said: Transcript::of(vec![Box::new(stdout), Box::new(stderr)]) }
    }

    /// The first line with `text` in it, once it is there.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> String {
        self.said.wait_for(text)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(Pid::from_child(&self.client), Signal::TERM);
        let _ = self.client.wait();
    }
}
