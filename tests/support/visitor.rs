//! Those who come to a container by its ports: ssh with a key, and a browser.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

use super::started::PATIENCE;

/// `ssh` with `key` as `user` to `port` of loopback. It never asks anything.
pub fn ssh(key: &Path, port: u16, user: &str, options: &[&str], command: &str) -> Output {
    let mut ssh = Command::new("ssh");
    ssh.args(["-F", "/dev/null", "-p", &port.to_string(), "-i"]).arg(key);
    for option in ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes", "LogLevel=ERROR"] {
        ssh.args(["-o", option]);
    }
    ssh.args(options).arg(format!("{user}@127.0.0.1")).arg(command);
    ssh.output().unwrap_or_else(|error| panic!("can't run ssh: {error}\nhint: apt-get install openssh-client"))
}

/// Makes a key at `path`, with its public half beside it, and returns that half.
pub fn new_key(path: &Path) -> String {
    let mut keygen = Command::new("ssh-keygen");
    super::output(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path), "openssh-client");
    std::fs::read_to_string(path.with_extension("pub")).expect("a key").trim().to_owned()
}

/// A connection to the server on `port`. Jupyter names its address shortly before it
/// listens there.
fn connect(port: u16) -> TcpStream {
    let begun = Instant::now();
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => return stream,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "port {port}: {error}"),
        }
    }
}

/// The status and body of an answer of the server on `port`.
pub fn get(port: u16, path: &str) -> (String, String) {
    let mut stream = connect(port);
    write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.split(' ').nth(1).expect("a status").to_owned(), body.to_owned())
}

/// The token in the address that Jupyter prints.
pub fn token_in(line: &str) -> String {
    line.split_once("token=").expect("a token").1.trim().to_owned()
}
