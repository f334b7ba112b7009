//! Debian's `docker-registry` on loopback, with its own storage and its own log.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tempfile::TempDir;

/// The account of a registry that asks for one.
pub const USER: &str = "tester";
/// Its password.
pub const PASSWORD: &str = "dlpack-tests";
// docker-registry takes bcrypt alone; this is crypt(PASSWORD)
const HTPASSWD: &str = "tester:$2y$05$abcdefghijklmnopqrstuuUkuirATI8Xkzrq0hIfsNqiFvgAPXeeC\n";

/// How long a part may take before the test says that it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request as the registry logged it.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub status: u16,
    /// Bytes of the response's body.
    pub sent: u64,
}

/// A running registry. Dropped, it is killed and its storage removed.
pub struct DebianRegistry {
    child: Child,
    address: String,
    directory: TempDir,
    access: Arc<(Mutex<Vec<Request>>, Condvar)>,
}

impl DebianRegistry {
    /// A registry that lets everybody pull and push.
    pub fn start() -> Self {
        Self::launch(&Setup::default())
    }

    /// A registry that asks for [`USER`] and [`PASSWORD`].
    pub fn start_with_password() -> Self {
        Self::launch(&Setup { password: true, ..Setup::default() })
    }

    /// A registry that speaks TLS, with a certificate that nobody vouches for.
    pub fn start_with_tls() -> Self {
        Self::launch(&Setup { tls: true, ..Setup::default() })
    }

    /// A registry that deletes nothing, as is the default of `docker-registry`.
    pub fn start_without_deletion() -> Self {
        Self::launch(&Setup { deletion: false, ..Setup::default() })
    }

    fn launch(setup: &Setup) -> Self {
        let directory = tempfile::Builder::new().prefix("dlpack-registry-").tempdir().expect("a temporary directory");
        let configuration = configure(directory.path(), setup);
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&configuration)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("can't run docker-registry: {error}\nhint: apt-get install docker-registry")
            });
        let access = Arc::<(Mutex<Vec<Request>>, Condvar)>::default();
        follow_access(child.stdout.take().expect("piped"), Arc::clone(&access));
        let announced = follow_log(child.stderr.take().expect("piped"), directory.path().join("log"));
        let address = announced.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            let _ = child.kill();
            panic!(
                "docker-registry did not start:\n{}",
                fs::read_to_string(directory.path().join("log")).unwrap_or_default()
            )
        });
        Self { child, address, directory, access }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `127.0.0.1:PORT/NAME`.
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Where the blobs lie, for a test that damages one.
    pub fn storage(&self) -> PathBuf {
        self.directory.path().join("storage")
    }

    /// The file that holds the blob `digest` (`sha256:HEX`).
    pub fn blob_file(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
        self.storage().join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }

    /// Every request answered so far, in order.
    ///
    /// The registry logs a request when it has answered it, so this sends a
    /// request of its own and waits until that is in the log.
    pub fn requests(&self) -> Vec<Request> {
        let marker = format!("/v2/?marker={:016x}", fastrand::u64(..));
        self.get(&marker);
        let (log, arrived) = &*self.access;
        let seen = |log: &mut Vec<Request>| !log.iter().any(|request| request.target == marker);
        let (log, timeout) = arrived.wait_timeout_while(log.lock().expect("log"), PATIENCE, seen).expect("log");
        assert!(!timeout.timed_out(), "docker-registry does not log its requests");
        log.iter().filter(|request| !request.target.contains("?marker=")).cloned().collect()
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        self.requests();
        self.access.0.lock().expect("log").clear();
    }

    /// The requests since the last [`Self::forget_requests`] that read blobs.
    pub fn blob_reads(&self) -> Vec<Request> {
        self.requests().into_iter().filter(|r| r.method == "GET" && r.target.contains("/blobs/")).collect()
    }

    fn get(&self, target: &str) {
        let mut stream = TcpStream::connect(&self.address).expect("the registry listens");
        write!(stream, "GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address).expect("sent");
        stream.read_to_end(&mut Vec::new()).expect("an answer");
    }
}

impl Drop for DebianRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a registry is set up.
struct Setup {
    password: bool,
    tls: bool,
    deletion: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self { password: false, tls: false, deletion: true }
    }
}

/// Writes the registry's configuration into `directory`. Port 0: the system
/// chooses one, and the registry logs which.
fn configure(directory: &Path, &Setup { password, tls, deletion }: &Setup) -> PathBuf {
    let storage = directory.join("storage");
    let mut text = format!(
        "version: 0.1\nlog: {{level: info, formatter: text}}\nstorage:\n  delete: {{enabled: {deletion}}}\n  \
         filesystem: {{rootdirectory: '{}'}}\nhttp:\n  addr: '127.0.0.1:0'\n  secret: tests\n",
        storage.display()
    );
    if tls {
        let (certificate, key) = (directory.join("certificate.pem"), directory.join("key.pem"));
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]);
        openssl.args(["-addext", "subjectAltName=IP:127.0.0.1", "-out"]).arg(&certificate).arg("-keyout").arg(&key);
        super::output(&mut openssl, "openssl");
        text += &format!("  tls: {{certificate: '{}', key: '{}'}}\n", certificate.display(), key.display());
    }
    if password {
        let file = directory.join("htpasswd");
        fs::write(&file, HTPASSWD).expect("htpasswd written");
        text += &format!("auth: {{htpasswd: {{realm: tests, path: '{}'}}}}\n", file.display());
    }
    let configuration = directory.join("config.yml");
    fs::write(&configuration, text).expect("configuration written");
    configuration
}

/// Keeps the log in `file` and sends the address that the registry says it
/// listens on.
fn follow_log(stderr: impl Read + Send + 'static, file: PathBuf) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut log = fs::File::create(file).expect("log created");
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let _ = writeln!(log, "{line}");
            if let Some((_, rest)) = line.split_once("listening on ") {
                let _ = sender.send(rest.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect());
            }
        }
    });
    receiver
}

/// Reads the access log, which is in Apache's combined form.
fn follow_access(stdout: impl Read + Send + 'static, access: Arc<(Mutex<Vec<Request>>, Condvar)>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some(request) = parse_access(&line) {
                access.0.lock().expect("log").push(request);
                access.1.notify_all();
            }
        }
    });
}

fn parse_access(line: &str) -> Option<Request> {
    let mut quoted = line.split('"');
    let (_, request, rest) = (quoted.next()?, quoted.next()?, quoted.next()?);
    let mut request = request.split(' ');
    let mut rest = rest.split_whitespace();
    Some(Request {
        method: request.next()?.to_owned(),
        target: request.next()?.to_owned(),
        status: rest.next()?.parse().ok()?,
        sent: rest.next()?.parse().ok()?,
    })
}
