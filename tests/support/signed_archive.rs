//! A Debian archive on loopback with small packages, signed with a key of its own.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use dlpack::oci::Digest;
use tempfile::TempDir;

use super::output;

/// What its Release is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signing {
    /// As it should be.
    Good,
    /// There is no signature.
    Missing,
    /// A byte was changed after it was signed.
    Tampered,
    /// Its `Valid-Until` is past.
    Expired,
    /// Another key signed it.
    Foreign,
}

/// The packages: name, what they depend on, and their postinst.
const PACKAGES: [(&str, &str, &str); 3] = [
    ("hello-data", "", ""),
    ("hello-forever", "", "#!/bin/sh\necho forever\nsleep 1000\n"),
    (
        "hello-service",
        "Depends: hello-data\n",
        "#!/bin/sh\nset -e\n\
         useradd --system --no-create-home --uid 777 hellod\n\
         install -d -o hellod -g hellod -m 2750 /var/lib/hello /run/hello\n\
         echo started at $(date) >/var/log/hello.log\n\
         cat /proc/sys/kernel/random/uuid >/etc/machine-id\n\
         cat /proc/sys/kernel/random/uuid >/etc/ssh_host_is_elsewhere\n\
         mkdir -p /etc/ssh && cat /proc/sys/kernel/random/uuid >/etc/ssh/ssh_host_rsa_key\n\
         echo constant >/etc/ssh_host_is_elsewhere\n",
    ),
];

/// An archive. It ends with the process.
pub struct Archive {
    directory: TempDir,
    address: String,
}

impl Archive {
    pub fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("dlpack-archive-").tempdir().expect("a temporary directory");
        fs::create_dir_all(directory.path().join("www/pool")).expect("created");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let root = directory.path().join("www");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let root = root.clone();
                std::thread::spawn(move || serve(stream, &root));
            }
        });
        let archive = Self { directory, address };
        for key in ["own", "foreign"] {
            let home = archive.gpg_home(key);
            fs::create_dir(&home).expect("created");
            fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("permissions");
            let name = format!("{key}@example.org");
            output(archive.gpg(key).args(["--quick-gen-key", &name, "default", "default", "never"]), "gpg");
        }
        archive.publish(Signing::Good);
        archive
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its public key, armoured.
    pub fn key(&self) -> String {
        let exported = output(self.gpg("own").args(["--armor", "--export"]), "gpg");
        String::from_utf8(exported.stdout).expect("ASCII")
    }

    /// The file of a package.
    pub fn deb(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("www/pool/{name}_1.0_all.deb"))
    }

    /// Makes the packages and the Release anew.
    pub fn publish(&self, signing: Signing) {
        let index: String = PACKAGES.iter().map(|package| self.package(package)).collect();
        let suite = self.directory.path().join("www/dists/stable");
        for architecture in ["amd64", "arm64"] {
            let place = suite.join(format!("main/binary-{architecture}"));
            fs::create_dir_all(&place).expect("created");
            fs::write(place.join("Packages"), &index).expect("written");
        }
        let line = |architecture: &str| {
            format!(" {} {} main/binary-{architecture}/Packages\n", Digest::of(index.as_bytes()).hex(), index.len())
        };
        let until = if signing == Signing::Expired { "Thu, 01 Jan 2015" } else { "Fri, 01 Jan 2100" };
        let release = format!(
            "Origin: test\nSuite: stable\nCodename: stable\nComponents: main\nArchitectures: amd64 arm64\n\
             Date: Wed, 01 Jan 2014 00:00:00 UTC\nValid-Until: {until} 00:00:00 UTC\nSHA256:\n{}{}",
            line("amd64"),
            line("arm64")
        );
        fs::write(suite.join("Release"), &release).expect("written");
        let signed = suite.join("InRelease");
        let _ = fs::remove_file(&signed);
        if signing == Signing::Missing {
            return;
        }
        let key = if signing == Signing::Foreign { "foreign" } else { "own" };
        output(self.gpg(key).arg("--clearsign").arg("--output").arg(&signed).arg(suite.join("Release")), "gpg");
        if signing == Signing::Tampered {
            let text = fs::read_to_string(&signed).expect("read").replace("Origin: test", "Origin: rest");
            fs::write(&signed, text).expect("written");
        }
    }

    /// Makes a package and returns its stanza in the index.
    fn package(&self, (name, depends, postinst): &(&str, &str, &str)) -> String {
        let deb = self.deb(name);
        let control = format!(
            "Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: A <a@example.org>\n{depends}Description: a test\n"
        );
        if !deb.exists() {
            let tree = tempfile::tempdir().expect("a temporary directory");
            let write = |path: &str, mode, content: &str| {
                let path = tree.path().join(path);
                fs::create_dir_all(path.parent().expect("a parent")).expect("created");
                fs::write(&path, content).expect("written");
                fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("permissions");
            };
            write("DEBIAN/control", 0o644, &control);
            write(&format!("usr/share/hello/{name}"), 0o644, "hello\n");
            if !postinst.is_empty() {
                write("DEBIAN/postinst", 0o755, postinst);
            }
            for directory in ["", "DEBIAN"] {
                let path = tree.path().join(directory);
                fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("permissions");
            }
            let mut build = Command::new("dpkg-deb");
            output(build.args(["--root-owner-group", "--build"]).arg(tree.path()).arg(&deb), "dpkg");
        }
        let bytes = fs::read(&deb).expect("a package");
        format!(
            "{control}Filename: pool/{name}_1.0_all.deb\nSize: {}\nSHA256: {}\n\n",
            bytes.len(),
            Digest::of(&bytes).hex()
        )
    }

    fn gpg_home(&self, key: &str) -> PathBuf {
        self.directory.path().join(key)
    }

    fn gpg(&self, key: &str) -> Command {
        let mut gpg = Command::new("gpg");
        gpg.args(["--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback", "--homedir"]);
        gpg.arg(self.gpg_home(key));
        gpg
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        for key in ["own", "foreign"] {
            // the agent that gpg started for the key
            let _ =
                Command::new("gpgconf").arg("--homedir").arg(self.gpg_home(key)).args(["--kill", "gpg-agent"]).status();
        }
    }
}

/// Answers GET and HEAD with files below `root`, one request a connection.
fn serve(mut stream: TcpStream, root: &Path) {
    let mut lines = BufReader::new(stream.try_clone().expect("cloned")).lines().map_while(Result::ok);
    let Some(request) = lines.next() else { return };
    let _ = lines.take_while(|line| !line.is_empty()).count();
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    // RFC 9112 3.2.2: a proxy is asked for a whole address
    let path = path.strip_prefix("http://").and_then(|address| address.split_once('/')).map_or(path, |(_, path)| path);
    let (status, body) = match fs::read(root.join(path.trim_start_matches('/'))) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes());
    if method == "GET" {
        let _ = stream.write_all(&body);
    }
}
