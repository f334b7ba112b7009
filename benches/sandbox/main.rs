//! The sandbox beside what people use today: the apt layer of `recipes/base.toml`
//! beside `docker build` and `buildah`, on the same base and with the same packages
//! at hand; a step that is cached; the start of a sandbox.
//!
//! ```text
//! cargo bench --bench sandbox
//! ```
//!
//! Wants root (for dockerd and mmdebstrap, and to become an ordinary user for
//! dlpack), docker-registry, mmdebstrap, skopeo, umoci; docker.io and buildah where
//! they are to be compared. About 4 GB of disk under `DLPACK_BENCH_DIR` (default: a
//! directory of the system's temporary one), removed at the end. Prints ratios of one
//! run; the machine's own speed is in both sides of each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench ends by panicking")]

mod parts;
#[allow(dead_code, reason = "shared with the image bench, which also pushes")]
#[path = "../peers/mod.rs"]
mod peers;

use std::time::{Duration, Instant};

use parts::Bench;
use peers::{Buildah, Docker, Peer};

/// How often the quick things are measured; the median counts.
const ROUNDS: usize = 11;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, root, scratch] = &arguments[..]
        && flag == parts::START
    {
        return parts::start_on(root.as_ref(), scratch.as_ref());
    }
    let bench = Bench::prepare();
    bench.make_ready();
    let ours = bench.timed_build("apt");
    println!("dlpack, one uid         apt layer {:.1} s", ours.as_secs_f64());
    let cached = median(|| bench.timed_build("apt"));
    println!("dlpack, cached          {:.0} ms", milliseconds(cached));
    let start = median(|| bench.timed_start());
    println!("start of a sandbox      {:.0} ms (to reach: 100)", milliseconds(start));
    let docker = Docker::start(bench.directory()).map(|docker| Box::new(docker) as Box<dyn Peer>);
    compare(&bench, docker, ours);
    let buildah = Buildah::find(bench.directory()).map(|buildah| Box::new(buildah) as Box<dyn Peer>);
    compare(&bench, buildah, ours);
}

/// `docker build` commits a layer without compressing it; ours is compressed and
/// hashed, too.
fn compare(bench: &Bench, peer: Option<Box<dyn Peer>>, ours: Duration) {
    let Some(peer) = peer else { return println!("a peer is not installed: apt-get install docker.io buildah") };
    // The base is at hand for everybody, and so are the packages.
    let packages = bench.build_context(peer.as_ref());
    let since = Instant::now();
    peer.build("bench/apt:latest", &packages);
    let theirs = since.elapsed();
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    println!(
        "{:<23} apt layer {:.1} s: dlpack takes {ratio:.2} times that (at most: 1.3)",
        peer.name(),
        theirs.as_secs_f64()
    );
}

fn median(measure: impl Fn() -> Duration) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS).map(|_| measure()).collect();
    times.sort();
    times[ROUNDS / 2]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
