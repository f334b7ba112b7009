//! A registry that answers before it has read what it was sent, and reads no more of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use dlpack::assemble;
use dlpack::layer::{self, Layer};
use dlpack::oci::DiffId;
use dlpack::registry::{Maker, Outlet, Settings};

use super::{Parcel, Process, block_on};

/// How much it reads of each PATCH, in bytes.
const TASTE: usize = 1 << 20;
/// How long the blob is: more than a socket holds, and than goes in one request.
const SIZE: usize = 12 << 20;

/// The registry, with one upload session.
#[derive(Default)]
struct Hasty {
    taken: Vec<u8>,
    is_closed: bool,
    /// Connections whose bodies were not read to their end. They stay open.
    open: Vec<TcpStream>,
}

/// Starts it; returns its address.
fn start() -> (String, Arc<Mutex<Hasty>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let hasty = Arc::<Mutex<Hasty>>::default();
    let shared = Arc::clone(&hasty);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, hasty) = (stream.unwrap(), Arc::clone(&shared));
            std::thread::spawn(move || serve(&stream, &hasty));
        }
    });
    (address, hasty)
}

/// Answers the requests of one connection until one is not read to its end.
fn serve(stream: &TcpStream, hasty: &Mutex<Hasty>) {
    let mut reader = BufReader::new(stream);
    loop {
        let head: Vec<String> =
            reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let Some(method) = head.first().and_then(|line| line.split(' ').next()) else { return };
        let header = |name: &str| {
            head.iter()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix(name).map(|value| value.trim().to_owned()))
        };
        let length = header("content-length:").map_or(0, |length| length.parse::<usize>().unwrap());
        let mut hasty = hasty.lock().unwrap();
        let here = "location: /v2/team/env/blobs/uploads/1\r\n";
        let range = |taken: usize| format!("{here}range: 0-{}\r\n", taken.saturating_sub(1));
        let (answer, whole) = match method {
            "POST" => (format!("202 Accepted\r\n{here}"), true),
            "PATCH" => {
                let mut rest = TASTE.min(if length == 0 { TASTE } else { length });
                while rest > 0 {
                    // RFC 9112 7.1: the chunk's size in hexadecimal, its data, and the next one's after CRLF
                    let piece = if length == 0 { chunk_size(&mut reader) } else { rest };
                    if piece == 0 {
                        reader.read_exact(&mut [0; 2]).unwrap();
                        break;
                    }
                    let mut bytes = vec![0; piece.min(rest)];
                    reader.read_exact(&mut bytes).unwrap();
                    rest -= bytes.len();
                    hasty.taken.extend(bytes);
                    if length == 0 && rest > 0 {
                        reader.read_exact(&mut [0; 2]).unwrap();
                    }
                }
                (format!("202 Accepted\r\n{}", range(hasty.taken.len())), rest > 0)
            }
            "PUT" => {
                let mut bytes = vec![0; length];
                reader.read_exact(&mut bytes).unwrap();
                hasty.taken.extend(bytes);
                hasty.is_closed = true;
                ("201 Created\r\n".to_owned(), true)
            }
            "GET" if head[0].contains("/uploads/") => (format!("204 No Content\r\n{}", range(hasty.taken.len())), true),
            "HEAD" if !hasty.is_closed => ("404 Not Found\r\n".to_owned(), true),
            _ => ("200 OK\r\n".to_owned(), true),
        };
        let length = if method == "HEAD" { hasty.taken.len() } else { 0 };
        // RFC 9112 9.3: a server that does not read all of a body has to say that this was the last answer
        let close = if whole { "" } else { "connection: close\r\n" };
        (&*stream).write_all(format!("HTTP/1.1 {answer}{close}content-length: {length}\r\n\r\n").as_bytes()).unwrap();
        if !whole {
            hasty.open.push(stream.try_clone().unwrap());
            return;
        }
    }
}

fn chunk_size(reader: &mut impl BufRead) -> usize {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    usize::from_str_radix(line.trim_end(), 16).unwrap()
}

fn settings() -> Settings {
    Settings { chunk: Some(8 << 20), ..Settings::default() }
}

#[test]
fn a_blob_goes_on_behind_what_such_a_registry_took() {
    let (address, hasty) = start();
    let (process, parcel) = (Process::with(&address, None, settings()), Parcel::of(SIZE, 5));
    block_on(parcel.push(&process.repository)).unwrap();
    assert!(hasty.lock().unwrap().taken == parcel.bytes);
}

/// The parcel as a layer that is made on its way.
struct Made(Parcel);

impl Maker for Made {
    type Made = Layer;
    type Error = assemble::Error;

    fn make(&self, mut out: Outlet) -> Result<Layer, assemble::Error> {
        let written = self.0.bytes.chunks(64 << 10).try_for_each(|part| out.write_all(part)).and_then(|()| out.flush());
        written.map_err(|source| layer::Error::Io { path: "noise".into(), source })?;
        let descriptor = self.0.descriptor.clone();
        Ok(Layer { diff_id: DiffId(descriptor.digest), unpacked: descriptor.size, descriptor })
    }
}

#[test]
fn so_does_one_that_is_made_meanwhile() {
    let (address, hasty) = start();
    let (process, made) = (Process::with(&address, None, settings()), Arc::new(Made(Parcel::of(SIZE, 6))));
    assert!(block_on(process.repository.push_made(&made, "noise", &|_| ())).unwrap().is_some());
    assert!(hasty.lock().unwrap().taken == made.0.bytes);
}
