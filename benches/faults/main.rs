//! The whole fault campaign, whose bounded part the tests run: how many faults of each
//! class were survived, rightly refused, or came to something wrong.
//!
//! ```text
//! cargo bench --bench faults               # everything
//! cargo bench --bench faults -- registry   # some parts: registry, kills, disk, flips, steps, together
//! ```
//!
//! Wants docker-registry and strace. Ends with status 1 if anything was wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench ends by panicking")]

#[allow(dead_code, reason = "shared with the tests, which look closer")]
#[path = "../../tests/faults/campaign/mod.rs"]
mod campaign;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Instant;

use campaign::home::Home;
use campaign::scene::Place;
use campaign::{Tally, Way, cases, disk as disks, flips as flipped, hundredths, kills as killed, stepped, together};

/// A part of the campaign by its name.
type Part = (&'static str, fn(&mut dyn FnMut(Tally)));

const PARTS: [Part; 6] = [
    ("registry", registry),
    ("kills", kills),
    ("disk", disk),
    ("flips", flips),
    ("steps", steps),
    ("together", several),
];

/// How many bits are flipped: half of them in what steps and registries leave.
const FLIPS: usize = 1000;
/// How many builds and pushes are killed.
const KILLS: usize = 500;
/// How much the layer has that takes time to write and to send, in bytes.
const NOISE: usize = 8 << 20;

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let mut all_right = true;
    for (name, part) in PARTS {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == name) {
            continue;
        }
        let begun = Instant::now();
        part(&mut |tally| {
            println!("{tally}");
            for wrong in tally.wrong() {
                println!("    {wrong}");
            }
            all_right &= tally.wrong().is_empty();
        });
        println!("{name} took {:.0} s", begun.elapsed().as_secs_f64());
    }
    if all_right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn registry(count: &mut dyn FnMut(Tally)) {
    for place in [Place::Embedded, Place::debian()] {
        for way in [Way::Pull, Way::Push] {
            count(cases::run(&place, way));
            count(hundredths::run(&place, way, 1));
        }
    }
}

fn kills(count: &mut dyn FnMut(Tally)) {
    let home = Home::new(NOISE);
    for verb in ["build", "push"] {
        count(killed::run(&home, verb, KILLS / 2, fastrand::u64(..)));
    }
}

fn disk(count: &mut dyn FnMut(Tally)) {
    disks::run(&Home::new(0), 1, count);
}

fn flips(count: &mut dyn FnMut(Tally)) {
    flipped::run(&Home::new(0), FLIPS / 2, fastrand::u64(..), count);
}

fn steps(count: &mut dyn FnMut(Tally)) {
    stepped::run(FLIPS / 2, fastrand::u64(..), count);
}

fn several(count: &mut dyn FnMut(Tally)) {
    let home = Home::new(NOISE);
    count(together::builds(&home, 5));
    count(together::collections(&home, 5));
    count(together::read_only(&home));
}
