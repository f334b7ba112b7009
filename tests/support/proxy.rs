//! A proxy on loopback that puts the faults of the embedded registry before a real one,
//! byte by byte: what goes wrong here goes wrong on the socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use dlpack::registry::serve::{Fault, Faults, What};
use hyper::{HeaderMap, Method};

use super::head::Head;

/// How long a byte of [`What::Drip`] takes.
const DRIP: Duration = Duration::from_millis(100);

/// The proxy. Dropped, it takes no new connections.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    /// Path and query.
    pub target: String,
    pub headers: HeaderMap,
}

struct Shared {
    upstream: String,
    faults: Faults,
    seen: Mutex<Vec<Seen>>,
    stopped: AtomicBool,
}

impl Proxy {
    /// A proxy before the registry that listens on `upstream`.
    pub fn before(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            faults: Faults::default(),
            seen: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if accepting.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                // A connection that ends badly was meant to, or is its client's affair.
                thread::spawn(move || shared.converse(client).ok());
            }
        });
        Self { address, shared }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Puts `faults` in the place of those that are still to come.
    pub fn set_faults(&self, faults: Vec<Fault>) {
        self.shared.faults.replace(faults);
    }

    /// Whether each of the faults has fallen on a request.
    pub fn all_fell(&self) -> bool {
        self.shared.faults.all_fell()
    }

    /// The requests so far, oldest first.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.seen.lock().expect("seen").clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    /// One request and its answer: both sides are told that the connection ends with it.
    fn converse(&self, client: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(client.try_clone()?);
        let Some(mut head) = Head::read(&mut reader)? else { return Ok(()) };
        let Ok(method) = head.method().parse::<Method>() else { return Ok(()) };
        let fault = self.faults.take(&method, head.target());
        self.seen.lock().expect("seen").push(Seen {
            method: method.clone(),
            target: head.target().to_owned(),
            headers: head.headers(),
        });
        let length = head.content_length();
        match &fault {
            Some(What::Answer(status, headers, body)) => {
                // The body is read, so that the answer arrives.
                pass_body(&mut reader, &head, &mut io::sink())?;
                return answer(client, *status, headers, body);
            }
            // until the client has had enough
            Some(What::NoAnswer) => return io::copy(&mut reader, &mut io::sink()).map(drop),
            Some(What::IgnoreRange) => head.remove("range"),
            Some(What::DeclineMount) => head.drop_query(),
            Some(What::ForgetSession) => self.forget(head.target())?,
            _ => {}
        }
        head.set("connection", "close");
        let mut upstream = TcpStream::connect(&self.upstream)?;
        upstream.write_all(&head.bytes())?;
        if let Some(What::BreakRequest(at) | What::ResetRequest(at) | What::AnswerAt(at, ..)) = &fault {
            let at = length.map_or(*at, |length| length.min(*at));
            io::copy(&mut reader.take(at), &mut upstream)?;
            // The registry keeps what came when it sees the end.
            let _ = upstream.shutdown(Shutdown::Write);
            io::copy(&mut upstream, &mut io::sink())?;
            return match &fault {
                Some(What::ResetRequest(_)) => reset(client),
                Some(What::AnswerAt(_, status, headers)) => answer(client, *status, headers, &[]),
                _ => end(client),
            };
        }
        let mut sending = upstream.try_clone()?;
        let passing = thread::spawn(move || pass_body(&mut reader, &head, &mut sending).ok());
        let told = respond(&client, upstream, &fault, method == Method::HEAD);
        if !matches!(fault, Some(What::ResetAnswer(_))) {
            // Where the answer came early, the rest of the body is waited for in vain.
            let _ = client.shutdown(Shutdown::Both);
        }
        let _ = passing.join();
        told
    }

    /// Lets the registry give an upload up.
    fn forget(&self, target: &str) -> io::Result<()> {
        let mut upstream = TcpStream::connect(&self.upstream)?;
        let host = &self.upstream;
        write!(upstream, "DELETE {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        io::copy(&mut upstream, &mut io::sink()).map(drop)
    }
}

/// Passes the registry's answer on, as `fault` changes it.
fn respond(client: &TcpStream, upstream: TcpStream, fault: &Option<What>, is_question: bool) -> io::Result<()> {
    let mut upstream = BufReader::new(upstream);
    let Some(mut head) = Head::read(&mut upstream)? else { return Ok(()) };
    head.set("connection", "close");
    let length = head.content_length().unwrap_or(0);
    let mut out = client;
    match fault {
        Some(What::Header(name, value)) => head.set(name, value),
        Some(What::Headers(headers)) => headers.iter().for_each(|(name, value)| head.set(name, value)),
        Some(What::MoreHeader(name, value)) => head.add(name, value),
        Some(What::NoHeader(name)) => head.remove(name),
        Some(What::Location(before, after)) => {
            if let Some(location) = head.get("location").map(str::to_owned) {
                let path = location.find("/v2/").map_or(location.as_str(), |at| &location[at..]);
                let after = if path.contains('?') { after.replacen('?', "&", 1) } else { after.clone() };
                head.set("location", &format!("{before}{path}{after}"));
            }
        }
        Some(What::Shorten(by)) => head.set("content-length", &length.saturating_sub(*by).to_string()),
        Some(What::Lengthen(by)) => head.set("content-length", &(length + by).to_string()),
        Some(What::Gzip) => {
            head.remove("content-length");
            head.set("content-encoding", "gzip");
        }
        Some(What::LoseAnswer | What::LieAnswer(_)) => {
            upstream.read_to_end(&mut Vec::new())?;
            return match fault {
                Some(What::LieAnswer(status)) => answer(client.try_clone()?, *status, &[], &[]),
                _ => end(client.try_clone()?),
            };
        }
        _ => {}
    }
    out.write_all(&head.bytes())?;
    if is_question {
        return Ok(());
    }
    match fault {
        Some(What::BreakAnswer(at)) => {
            io::copy(&mut upstream.take(*at), &mut out)?;
            end(client.try_clone()?)
        }
        Some(What::ResetAnswer(at)) => {
            io::copy(&mut upstream.take(*at), &mut out)?;
            reset(client.try_clone()?)
        }
        Some(What::Shorten(by)) => io::copy(&mut upstream.take(length.saturating_sub(*by)), &mut out).map(drop),
        Some(What::Lengthen(by)) => io::copy(&mut upstream.chain(io::repeat(0).take(*by)), &mut out).map(drop),
        Some(What::Flip(at)) => {
            io::copy(&mut upstream.by_ref().take(*at), &mut out)?;
            let mut byte = [0];
            upstream.read_exact(&mut byte)?;
            out.write_all(&[byte[0] ^ 1])?;
            io::copy(&mut upstream, &mut out).map(drop)
        }
        Some(What::Stall(at)) => {
            io::copy(&mut upstream.take(*at), &mut out)?;
            // until the client has had enough
            io::copy(&mut client.try_clone()?, &mut io::sink()).map(drop)
        }
        Some(What::Drip(at)) => {
            io::copy(&mut upstream.by_ref().take(*at), &mut out)?;
            for byte in upstream.bytes() {
                thread::sleep(DRIP);
                out.write_all(&[byte?])?;
            }
            Ok(())
        }
        Some(What::Gzip) => {
            let mut gzip = flate2::write::GzEncoder::new(out, flate2::Compression::fast());
            io::copy(&mut upstream, &mut gzip)?;
            gzip.finish().map(drop)
        }
        _ => io::copy(&mut upstream, &mut out).map(drop),
    }
}

/// Passes the request's body on, to its end and no byte further.
fn pass_body(reader: &mut impl BufRead, head: &Head, to: &mut impl Write) -> io::Result<()> {
    if head.get("transfer-encoding").is_none() {
        return io::copy(&mut reader.take(head.content_length().unwrap_or(0)), to).map(drop);
    }
    // RFC 9112 7.1: each chunk after its length in hexadecimal; the last one has none
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        to.write_all(line.as_bytes())?;
        let length = u64::from_str_radix(line.trim_end(), 16).map_err(io::Error::other)?;
        io::copy(&mut reader.take(length + 2), to)?;
        if length == 0 {
            return Ok(());
        }
    }
}

fn answer(mut client: TcpStream, status: u16, headers: &[(&'static str, String)], body: &[u8]) -> io::Result<()> {
    let mut head = Head::answer(status);
    for (name, value) in headers {
        head.add(name, value);
    }
    head.set("content-length", &body.len().to_string());
    head.set("connection", "close");
    client.write_all(&head.bytes())?;
    client.write_all(body)?;
    end(client)
}

/// Says that nothing comes any more. What the other side still sends is taken: closed with
/// unread bytes, a connection would be reset.
fn end(mut client: TcpStream) -> io::Result<()> {
    client.shutdown(Shutdown::Write)?;
    io::copy(&mut client, &mut io::sink()).map(drop)
}

/// socket(7), SO_LINGER: closed with no time to linger, a connection is reset.
fn reset(client: TcpStream) -> io::Result<()> {
    rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO))?;
    Ok(())
}
