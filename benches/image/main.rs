//! A recipe end to end, beside `docker build` + `docker push` (the classic builder and
//! BuildKit) and `buildah` (gzip and zstd): same base, same registry, the same wheels at hand
//! for everybody; and what an empty disk does with a remote cache.
//!
//! ```text
//! cargo bench --bench image                 # the torch recipe, 3 GB of wheels
//! cargo bench --bench image -- --medium     # numpy, scipy, pyarrow … half a GB of wheels
//! cargo bench --bench image -- --small      # two small wheels, to try the bench
//! ```
//!
//! Wants root (for dockerd and mmdebstrap), docker-registry, mmdebstrap, skopeo,
//! uv and python3; docker.io and buildah where they are to be compared. About
//! 40 GB of disk (`--medium`: 10 GB) under `DLPACK_BENCH_DIR` (default: target/bench-image),
//! which is removed at the end. Prints ratios of one run; the machine's own speed is in
//! both sides of each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench ends by panicking")]

mod parts;
#[path = "../peers/mod.rs"]
mod peers;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use parts::{BASE, Bench, Measured, Size};
use peers::{Buildah, Builder, Docker, Format, Peer};

fn main() {
    let asked = |flag: &str| std::env::args().any(|argument| argument == flag);
    let size = if asked("--small") {
        Size::Small
    } else if asked("--medium") {
        Size::Medium
    } else {
        Size::Torch
    };
    let bench = Bench::prepare(size);
    println!("{} of wheels; load {}", parts::megabytes(bench.wheel_bytes("before")), load());
    let ours = measure_dlpack(&bench);
    println!("\n{:<16} first {}   unchanged {}   one small wheel {}", "dlpack", ours[0], ours[1], ours[2]);
    println!("  peak memory: {} MB", ours.iter().map(|m| m.peak_kib).max().unwrap_or(0) / 1024);
    println!("  nothing changed: {:.3} s (to reach: 0.3)", ours[1].time.as_secs_f64());
    measure_empty_disks(&bench, &ours[0]);
    // One after the other: each is removed with all that it wrote before the next begins.
    let peers: [Begin; 4] = [
        |directory| Docker::start(directory, Builder::Classic).map(boxed),
        |directory| Docker::start(directory, Builder::BuildKit).map(boxed),
        |directory| Buildah::find(directory, Format::Gzip).map(boxed),
        |directory| Buildah::find(directory, Format::Zstd).map(boxed),
    ];
    let mut measured = 0;
    for start in peers {
        let Some(peer) = start(bench.directory()) else { continue };
        measured += 1;
        let theirs = measure_peer(&bench, peer.as_ref());
        println!("\n{:<16} first {}   unchanged {}   one small wheel {}", peer.name(), theirs[0], theirs[1], theirs[2]);
        let first = if peer.name().ends_with("zstd") { 4.0 } else { 6.0 };
        for (what, limit, at) in
            [("first build and push", first, 0), ("nothing changed", 1.0, 1), ("one small wheel", 40.0, 2)]
        {
            let ratio = theirs[at].time.as_secs_f64() / ours[at].time.as_secs_f64();
            println!(
                "  {what:<22} {ratio:8.1} times as fast (to reach: {limit}), {} sent against {}",
                parts::megabytes(ours[at].sent),
                parts::megabytes(theirs[at].sent)
            );
        }
    }
    if measured == 0 {
        println!("no peer is installed: apt-get install docker.io buildah");
    }
    println!("\nload {}", load());
}

/// What the machine had to do over the last 1, 5 and 15 minutes (proc(5), /proc/loadavg).
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// An empty disk: with a remote cache, unchanged and with one small wheel changed; and without.
fn measure_empty_disks(bench: &Bench, first: &Measured) {
    for (what, round, seconds, megabytes) in [("unchanged", "before", 3.0, 0.0), ("one small wheel", "later", 5.0, 1.0)]
    {
        let push = bench.dlpack_push_from_empty_disk(&bench.recipe(round));
        println!(
            "  empty disk, remote cache, {what}: {:.2} s (to reach: {seconds}), {} sent (to reach: {megabytes}), {} written",
            push.time.as_secs_f64(),
            parts::megabytes(push.sent),
            parts::megabytes(push.written)
        );
    }
    let (wheels, nothing) = (bench.wheel_bytes("before"), bench.dlpack_push_from_nothing(&bench.recipe("before")));
    for (what, push) in [("wheels at hand", first), ("empty disk", &nothing)] {
        let ratio = push.written as f64 / wheels as f64;
        println!(
            "  first push, {what}: {} written to the disk, {ratio:.2} times the wheels (to reach: 1.1)",
            parts::megabytes(push.written)
        );
    }
}

/// Makes a peer ready, if it is installed.
type Begin = fn(&Path) -> Option<Box<dyn Peer>>;

fn boxed<P: Peer + 'static>(peer: P) -> Box<dyn Peer> {
    Box::new(peer)
}

/// First build and push, the same again, and again with one small wheel changed.
fn measure_dlpack(bench: &Bench) -> [Measured; 3] {
    let first = bench.dlpack_push(&bench.recipe("before"));
    let unchanged = bench.dlpack_push(&bench.recipe("before"));
    let changed = bench.dlpack_push(&bench.recipe("after"));
    [first, unchanged, changed]
}

fn measure_peer(bench: &Bench, peer: &dyn Peer) -> [Measured; 3] {
    let image = format!("{}/bench/{}:latest", bench.registry(), peer.name());
    // The base is at hand for everybody.
    peer.pull(&format!("{}/{BASE}", bench.registry()));
    let round = |requirements: &Path| {
        let context = context(bench, requirements);
        let before = bench.registry_bytes();
        let since = Instant::now();
        peer.build(&image, &context);
        peer.push(&image);
        let time = since.elapsed();
        Measured { time, sent: bench.registry_bytes().saturating_sub(before), peak_kib: 0, written: 0 }
    };
    let (before, after) = (bench.requirements("before"), bench.requirements("after"));
    [round(&before), round(&before), round(&after)]
}

/// A build context: the Dockerfile that people write today.
fn context(bench: &Bench, requirements: &Path) -> PathBuf {
    let context = bench.directory().join("context");
    fs::create_dir_all(&context).unwrap();
    fs::copy(requirements, context.join("requirements.txt")).unwrap();
    let dockerfile = format!(
        "FROM {}/{BASE}\nRUN python3 -m venv /opt/venv\nCOPY requirements.txt /tmp/requirements.txt\n\
         RUN /opt/venv/bin/pip install --no-cache-dir --no-index --no-deps --find-links {} -r /tmp/requirements.txt\n",
        bench.registry(),
        bench.wheelhouse()
    );
    fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    context
}
