//! What dlpack promises, tested through its public surface: one file a command or
//! a promise, on real parts where a user would have them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod support;

mod account;
mod apt;
mod archives;
mod bad_wheels;
mod base;
mod build;
mod bytecode;
mod cache;
mod cached_steps;
mod changesets;
mod chroot;
mod commands;
mod containers;
mod determinism;
mod diff;
mod directions;
mod doctor;
mod entrypoint;
mod errors;
mod export;
mod extract;
mod fallbacks;
mod faults;
mod from_source;
mod fuzz_corpora;
mod gpu;
mod init;
mod interpreters;
mod layers;
mod limits;
mod lock;
mod login;
mod manual;
mod ngc;
mod owners;
mod plan;
mod process_groups;
mod pull;
mod push;
mod rebase;
mod recipes;
mod recipes_whole;
mod registries;
mod run;
mod run_image;
mod sandbox;
mod serve;
mod split;
mod steps;
mod store;
mod streams;
mod terminals;
mod testing;

mod uploads;
mod verify;
mod wheelhouse;
mod wheels;
mod why;
