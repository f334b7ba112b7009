//! Builds and pushes that are killed (SIGKILL) at random points, once to three times in a
//! row; the next run comes to the same image, and after a collection there is no orphan.

use std::thread;

use super::home::{Home, State};
use super::{Expected, Tally};

/// Kills `kills` runs of `verb`, `build` or `push`; `seed` says when.
pub fn run(home: &Home, verb: &str, kills: usize, seed: u64) -> Tally {
    let mut tally = Tally::new(format!("{verb}: killed, seed {seed}"));
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut round = 0;
    while tally.total() < kills {
        round += 1;
        let in_a_row = chance.usize(1..=3).min(kills - tally.total());
        home.restore(State::Fetched);
        let target = home.target();
        let arguments: Vec<&str> = if verb == "push" { vec![verb, &target] } else { vec![verb] };
        let mut killed = 0;
        while killed < in_a_row {
            let mut child = home.spawn(&arguments);
            thread::sleep(home.honest.mul_f64(chance.f64()));
            if child.try_wait().unwrap().is_some() {
                // It was faster: from the beginning.
                home.restore(State::Fetched);
                continue;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            killed += 1;
        }
        tally.count_as(killed, &format!("round {round}"), || {
            home.assert_heals(&arguments);
            if verb == "push" {
                home.assert_arrived(&target);
            }
            Expected::Survived
        });
    }
    tally
}
