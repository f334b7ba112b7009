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
//! directory of the system's temporary one), removed at the end. Everybody builds the
//! layer in turn, several times, so that whatever else the machine does hits all of
//! them; the medians' ratios count.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench ends by panicking")]

mod parts;
#[allow(dead_code, reason = "shared with the image bench, which also pushes")]
#[path = "../peers/mod.rs"]
mod peers;

use std::time::Duration;

use parts::Bench;
use peers::{Buildah, Builder, Docker, Format, Peer};

/// How often the layer is built by everybody.
const ROUNDS: usize = 3;
/// How often the quick things are measured.
const QUICK_ROUNDS: usize = 21;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, store, chain] = &arguments[..]
        && flag == parts::START
    {
        return parts::start_on(store.as_ref(), chain);
    }
    let bench = Bench::prepare();
    bench.make_ready();

    let start = median(QUICK_ROUNDS, || bench.timed_start());
    println!("start of a sandbox    {:6.0} ms (at most: 100)", milliseconds(start));
    // In turn: the difference is milliseconds, and what else the machine does is not.
    let builds = (0..QUICK_ROUNDS).map(|_| (bench.timed_build("none"), bench.timed_build("apt")));
    let (without, cached): (Vec<_>, Vec<_>) = builds.unzip();
    let (without, cached) = (middle(&without), middle(&cached));
    println!(
        "a cached step         {:6.0} ms more than none (a build of nothing: {:.0} ms)",
        milliseconds(cached) - milliseconds(without),
        milliseconds(without)
    );

    let docker = Docker::start(bench.directory(), Builder::Classic).map(|docker| Box::new(docker) as Box<dyn Peer>);
    let buildah = Buildah::find(bench.directory(), Format::Gzip).map(|buildah| Box::new(buildah) as Box<dyn Peer>);
    let peers: Vec<Box<dyn Peer>> = docker.into_iter().chain(buildah).collect();
    peers.iter().for_each(|peer| bench.put_at_hand(peer.as_ref()));
    let (mut ours, mut theirs) = (Vec::new(), vec![Vec::new(); peers.len()]);
    for round in 0..ROUNDS {
        bench.forget_layer();
        ours.push(bench.timed_build("apt"));
        for (peer, theirs) in peers.iter().zip(&mut theirs) {
            theirs.push(bench.timed_peer(peer.as_ref(), round));
        }
    }
    println!("apt layer");
    println!("  dlpack, one uid     {}", seconds(&ours));
    // `docker build` commits a layer without compressing it; ours is compressed, too.
    for (peer, theirs) in peers.iter().zip(&theirs) {
        let ratio = middle(&ours).as_secs_f64() / middle(theirs).as_secs_f64();
        println!("  {:<19} {}: dlpack takes {ratio:.2} times that (at most: 1.3)", peer.name(), seconds(theirs));
    }
    if peers.is_empty() {
        println!("no peer is installed: apt-get install docker.io buildah");
    }
}

fn median(rounds: usize, measure: impl Fn() -> Duration) -> Duration {
    middle(&(0..rounds).map(|_| measure()).collect::<Vec<_>>())
}

fn middle(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn seconds(times: &[Duration]) -> String {
    let all: Vec<String> = times.iter().map(|time| format!("{:.1}", time.as_secs_f64())).collect();
    format!("{:5.1} s (of {})", middle(times).as_secs_f64(), all.join(", "))
}
