//! An archive made on the spot (Debian's repository format), signed with GnuPG, and
//! served on loopback.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use dlpack::oci::Digest;
use tempfile::TempDir;

/// The suite that it has.
pub const SUITE: &str = "stable";

/// An archive with a key of its own. It is served until it is dropped.
pub struct Archive {
    directory: TempDir,
    address: String,
    stop: Arc<AtomicBool>,
}

impl Archive {
    /// An archive with one essential package, `hello`, signed by a key that never expires.
    pub fn new() -> Self {
        let archive = Self::empty();
        archive.generate_key(&[], "never");
        archive.add_package("hello", "1.0", "Essential: yes\n");
        archive.add_package("apt", "1.0", "Depends: hello (>= 1.0)\n");
        archive.add_package("ca-certificates", "1.0", "");
        archive.publish("");
        archive
    }

    /// An archive without key and packages.
    pub fn empty() -> Self {
        let directory = tempfile::Builder::new().prefix("dlpack-archive-").tempdir().expect("a directory");
        for name in ["root/pool", "gnupg", "root/dists/stable/main/binary-amd64"] {
            fs::create_dir_all(directory.path().join(name)).expect("created");
        }
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (stop, root) = (Arc::new(AtomicBool::new(false)), directory.path().join("root"));
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let root = root.clone();
                std::thread::spawn(move || answer(stream, &root));
            }
        });
        Self { directory, address, stop }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it serves.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// A file of its suite.
    pub fn dists(&self, file: &str) -> PathBuf {
        self.root().join("dists").join(SUITE).join(file)
    }

    /// Makes its key, which is good for `lifetime`; `options` go to gpg.
    pub fn generate_key(&self, options: &[&str], lifetime: &str) {
        let arguments = ["--quick-gen-key", "Archive <archive@example.org>", "ed25519", "sign", lifetime];
        self.gpg(&[options, &arguments].concat());
    }

    /// The public key, in a file.
    pub fn key(&self) -> PathBuf {
        let path = self.directory.path().join("key.asc");
        fs::write(&path, self.gpg(&["--armor", "--export"])).expect("written");
        path
    }

    /// Revokes its key, with the certificate that GnuPG made along with it. What is signed
    /// stays signed.
    pub fn revoke_key(&self) {
        let certificates = self.directory.path().join("gnupg/openpgp-revocs.d");
        let certificate = fs::read_dir(certificates).expect("read").flatten().next().expect("a certificate");
        // "a colon has been inserted before the 5 dashes": against an accident
        let text = fs::read_to_string(certificate.path()).expect("read").replace("\n:-----", "\n-----");
        let path = self.directory.path().join("revocation.asc");
        fs::write(&path, text).expect("written");
        self.gpg(&["--import", path.to_str().expect("UTF-8")]);
    }

    /// What gpg prints, as the archive's owner.
    pub fn gpg(&self, arguments: &[&str]) -> Vec<u8> {
        let mut command = Command::new("gpg");
        command.args(["--batch", "--yes", "--pinentry-mode", "loopback", "--passphrase", ""]).args(arguments);
        super::output(command.env("GNUPGHOME", self.directory.path().join("gnupg")), "gnupg").stdout
    }

    /// Adds a package that has one file, `/usr/share/NAME`.
    pub fn add_package(&self, name: &str, version: &str, fields: &str) {
        let tree = self.directory.path().join("tree");
        fs::create_dir_all(tree.join("DEBIAN")).expect("created");
        fs::create_dir_all(tree.join("usr/share")).expect("created");
        fs::write(tree.join("usr/share").join(name), name).expect("written");
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: A <a@example.org>\nDescription: x\n{fields}"
        );
        fs::write(tree.join("DEBIAN/control"), control).expect("written");
        let deb = self.deb(name, version);
        let mut command = Command::new("dpkg-deb");
        super::output(command.args(["--root-owner-group", "--build"]).arg(&tree).arg(&deb), "dpkg");
        fs::remove_dir_all(&tree).expect("removed");
    }

    /// Where a package lies.
    pub fn deb(&self, name: &str, version: &str) -> PathBuf {
        self.root().join(format!("pool/{name}_{version}_amd64.deb"))
    }

    /// Writes `Packages` of all packages, and `Release` with `fields`; signs it both ways.
    pub fn publish(&self, fields: &str) {
        self.write_release(fields);
        self.sign(&[]);
    }

    /// The same with options for gpg when it signs.
    pub fn publish_with(&self, options: &[&str]) {
        self.write_release("");
        self.sign(options);
    }

    fn write_release(&self, fields: &str) {
        let mut packages = String::new();
        let mut debs: Vec<PathBuf> =
            fs::read_dir(self.root().join("pool")).expect("read").flatten().map(|entry| entry.path()).collect();
        debs.sort();
        for deb in debs {
            let bytes = fs::read(&deb).expect("read");
            let mut command = Command::new("dpkg-deb");
            let control = super::output(command.arg("--field").arg(&deb), "dpkg").stdout;
            let name = deb.file_name().expect("a name").to_string_lossy();
            let (control, sha256) = (String::from_utf8(control).expect("UTF-8"), Digest::of(&bytes).hex());
            let size = bytes.len();
            packages += &format!("{control}Filename: pool/{name}\nSize: {size}\nSHA256: {sha256}\n\n");
        }
        fs::write(self.dists("main/binary-amd64/Packages"), &packages).expect("written");
        let (size, sha256) = (packages.len(), Digest::of(packages.as_bytes()).hex());
        let release = format!(
            "Origin: Test\nSuite: {SUITE}\nCodename: {SUITE}\nDate: {}\n{fields}SHA256:\n {sha256} {size} main/binary-amd64/Packages\n",
            date(SystemTime::now() - Duration::from_secs(60))
        );
        fs::write(self.dists("Release"), release).expect("written");
    }

    /// Signs `Release` both ways; `options` go to gpg.
    pub fn sign(&self, options: &[&str]) {
        let (release, inline, detached) = (self.dists("Release"), self.dists("InRelease"), self.dists("Release.gpg"));
        let file = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        self.gpg(&[options, &["--clearsign", "--output", &file(&inline), &file(&release)]].concat());
        let detach = ["--armor", "--detach-sign", "--output", &file(&detached), &file(&release)];
        self.gpg(&[options, &detach].concat());
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(&self.address);
        // gpg starts an agent for each home
        let mut command = Command::new("gpgconf");
        let _ = command.args(["--kill", "all"]).env("GNUPGHOME", self.directory.path().join("gnupg")).status();
    }
}

/// As `Release` has times.
pub fn date(time: SystemTime) -> String {
    httpdate::fmt_http_date(time).replace("GMT", "UTC")
}

fn answer(mut stream: TcpStream, root: &Path) {
    let mut head = String::new();
    let mut reader = BufReader::new(stream.try_clone().expect("cloned"));
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    let path = head.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
    let (status, body) = match fs::read(root.join(path)) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(&[head.as_bytes(), &body].concat());
}
