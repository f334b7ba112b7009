//! A line to a server that is cut now and then, and counts what goes over it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// How long a test waits for bytes before it says that none come.
const PATIENCE: Duration = Duration::from_secs(120);

/// A proxy on loopback that passes bytes on.
pub struct Line {
    address: String,
    traffic: Arc<(Mutex<Traffic>, Condvar)>,
}

#[derive(Default)]
struct Traffic {
    /// Bytes from clients.
    sent: u64,
    /// After how many of them a connection is cut, the next cut last.
    cuts: Vec<u64>,
}

impl Line {
    /// A line to `server` that is cut after so many bytes in all.
    pub fn to(server: impl Into<String>, mut cuts: Vec<u64>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        cuts.sort_unstable_by(|a, b| b.cmp(a));
        let traffic = Arc::new((Mutex::new(Traffic { sent: 0, cuts }), Condvar::new()));
        let (server, counted) = (server.into(), Arc::clone(&traffic));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(upstream) = TcpStream::connect(&server) else { continue };
                connect(client, upstream, &counted);
            }
        });
        Self { address, traffic }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How many bytes clients have sent.
    pub fn sent(&self) -> u64 {
        self.traffic.0.lock().expect("traffic").sent
    }

    /// How many cuts are still to come.
    pub fn cuts_left(&self) -> usize {
        self.traffic.0.lock().expect("traffic").cuts.len()
    }

    /// Waits until clients have sent `bytes` in all.
    pub fn wait_for(&self, bytes: u64) {
        let (traffic, moved) = &*self.traffic;
        let too_few = |traffic: &mut Traffic| traffic.sent < bytes;
        let (traffic, timeout) =
            moved.wait_timeout_while(traffic.lock().expect("traffic"), PATIENCE, too_few).expect("traffic");
        assert!(!timeout.timed_out(), "{} of {bytes} bytes came", traffic.sent);
    }
}

/// Passes bytes on in both directions, each on a thread.
fn connect(client: TcpStream, upstream: TcpStream, traffic: &Arc<(Mutex<Traffic>, Condvar)>) {
    let (mut answers, mut to_client) = (upstream.try_clone().expect("cloned"), client.try_clone().expect("cloned"));
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut answers, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Write);
    });
    let traffic = Arc::clone(traffic);
    std::thread::spawn(move || {
        pass_on(&client, &upstream, &traffic);
        // What was read has been passed on: the server sees an end, not a reset.
        let _ = upstream.shutdown(Shutdown::Write);
        let _ = client.shutdown(Shutdown::Both);
    });
}

fn pass_on(mut client: &TcpStream, mut upstream: &TcpStream, traffic: &(Mutex<Traffic>, Condvar)) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let count = match client.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        if upstream.write_all(&buffer[..count]).is_err() {
            return;
        }
        let mut counted = traffic.0.lock().expect("traffic");
        counted.sent += count as u64;
        let is_cut = counted.cuts.last().is_some_and(|cut| counted.sent >= *cut);
        if is_cut {
            counted.cuts.pop();
        }
        drop(counted);
        traffic.1.notify_all();
        if is_cut {
            return;
        }
    }
}
