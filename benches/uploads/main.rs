//! Uploads over a line that is cut ten times at random: how much is sent in all, beside
//! the blob's length; and how long a push that is asked to end takes to do so.
//!
//! ```text
//! cargo bench --bench uploads                # 1 GiB
//! cargo bench --bench uploads -- --small     # 64 MiB, to try the bench
//! ```
//!
//! Wants docker-registry. Counted is what came over the line, headers and all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench ends by panicking")]

#[path = "../../tests/support/line.rs"]
mod line;
#[path = "../peers/mod.rs"]
#[allow(dead_code, reason = "the tools that build images have no part in this")]
mod peers;

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use bytes::Bytes;
use dlpack::oci::{Descriptor, media_type};
use dlpack::registry::serve::{Features, Options, Remains, Server};
use dlpack::registry::{BlobOrigin, Registries, Settings};
use dlpack::store::Store;
use line::Line;

/// How often the line is cut.
const CUTS: usize = 10;

fn main() {
    let small = std::env::args().any(|argument| argument == "--small");
    let length = if small { 64 << 20 } else { 1 << 30 };
    let directory = tempfile::tempdir().unwrap();
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(1).fill(&mut bytes);
    let bytes = Bytes::from(bytes);
    println!("{} MiB, {CUTS} cuts at random:", length >> 20);
    for (what, remains) in [("sessions are kept", Remains::Bytes), ("whole requests are kept", Remains::Parts)] {
        let features = Features { remains, ..Features::default() };
        let store = Store::open(&directory.path().join(what)).unwrap();
        let options = Options { features, ..Options::default() };
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), store, options).unwrap();
        measure(what, &server.address().to_string(), &bytes);
    }
    let debian = peers::registry::Registry::start(directory.path());
    measure("Debian's registry, which forgets", &debian.address, &bytes);
    for signal in ["TERM", "INT"] {
        end(directory.path(), &debian.address, signal);
    }
}

/// Uploads `bytes` to `server` over a line that is cut, and prints what that took.
fn measure(what: &str, server: &str, bytes: &Bytes) {
    let length = bytes.len() as u64;
    let mut random = fastrand::Rng::with_seed(7);
    let cuts = std::iter::repeat_with(|| random.u64(length / 100..length)).take(CUTS).collect();
    let line = Line::to(server, cuts);
    let registries = Registries::new(Settings::default()).unwrap();
    let repository = registries.repository(&format!("{}/bench/cut:1", line.address()).parse().unwrap()).unwrap();
    let descriptor = Descriptor::of(media_type::LAYER_GZIP, bytes);
    let since = Instant::now();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let origin = BlobOrigin::Bytes(bytes.clone());
    runtime.block_on(repository.push_blob(&descriptor, &origin, None, &|_| ())).unwrap();
    assert_eq!(line.cuts_left(), 0);
    let ratio = line.sent() as f64 / length as f64;
    println!("  {what:<34} {ratio:.3} times its length, in {:.1} s", since.elapsed().as_secs_f64());
}

/// How long `dlpack push` takes to end in the middle of a blob.
fn end(directory: &Path, registry: &str, signal: &str) {
    let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(32 << 20).collect();
    std::fs::write(directory.join("noise"), noise).unwrap();
    let layer = "[[layer]]\nkind = \"files\"\nfiles = [{ from = \"noise\", to = \"/srv/noise\" }]\n";
    std::fs::write(directory.join("dlpack.toml"), format!("base = \"scratch\"\n{layer}")).unwrap();
    let line = Line::to(registry, Vec::new());
    let target = format!("{}/bench/{}:1", line.address(), signal.to_lowercase());
    let dlpack = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dlpack"));
        command.args(arguments).current_dir(directory).env("DLPACK_STORE", directory.join("store"));
        command
    };
    let mut child =
        dlpack(&["push", "-q", "--update", "--limit-rate", "8M", "--max-chunk", "16MB", &target]).spawn().unwrap();
    line.wait_for(4 << 20);
    let since = Instant::now();
    peers::must(Command::new("kill").args(["-s", signal, &child.id().to_string()]));
    let status = child.wait().unwrap();
    let (took, before) = (since.elapsed().as_secs_f64(), line.sent());
    peers::must(&mut dlpack(&["push", "-q", &target]));
    let all = line.sent() as f64 / (32 << 20) as f64;
    println!(
        "SIG{signal} after {} MiB to Debian's registry: status {:?} in {took:.2} s; with the next run {all:.3} times its length",
        before >> 20,
        status.code().unwrap_or(-1)
    );
}
