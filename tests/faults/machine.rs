//! Faults of the machine: processes that are killed, disks that are full or broken, bits that
//! flip, and several who use one store. A bounded part of the campaign; all of it is `cargo
//! bench --bench faults`.

use super::campaign::home::Home;
use super::campaign::{disk, flips, kills, stepped, together};

/// How much there is to write and to send, in bytes.
const NOISE: usize = 4 << 20;
/// The same points each time: new ones are for the whole campaign.
const SEED: u64 = 1;

#[test]
fn killed_builds_and_pushes_are_made_to_their_end_and_leave_no_orphan() {
    let home = Home::new(NOISE);
    kills::run(&home, "build", 10, SEED).assert_all_right();
    kills::run(&home, "push", 10, SEED).assert_all_right();
}

#[test]
fn a_disk_that_is_full_or_broken_at_a_call_is_said_and_the_next_build_succeeds() {
    let mut total = 0;
    disk::run(&Home::new(0), 4, &mut |tally| {
        // of a bounded part some kinds of calls may be none of the store's
        tally.assert_none_wrong();
        total += tally.total();
    });
    assert!(total > 0);
}

#[test]
fn bits_that_flip_in_the_store_are_found_or_healed_and_never_pushed() {
    flips::run(&Home::new(0), 50, SEED, &mut |tally| tally.assert_all_right());
}

#[test]
fn bits_that_flip_in_what_steps_stand_on_and_leave_come_into_no_layer() {
    stepped::run(20, SEED, &mut |tally| tally.assert_all_right());
}

#[test]
fn builds_collections_and_a_read_only_mount_share_one_store() {
    let home = Home::new(NOISE);
    together::builds(&home, 1).assert_all_right();
    together::collections(&home, 1).assert_all_right();
    together::read_only(&home).assert_all_right();
}
