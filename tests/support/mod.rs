//! What tests stand on: real parts started for them, and images made for them.
//! A part that is missing fails the test and says how to get it.
#![allow(dead_code, reason = "not every support function has its test on every platform")]

pub mod archive;
pub mod command;
pub mod container;
pub mod embedded;
pub mod head;
pub mod host;
pub mod image;
pub mod index;
pub mod line;
pub mod machine;
pub mod payload;
pub mod proxy;
pub mod registry;
pub mod rootfs;
pub mod runtime;
pub mod sandbox;
pub mod shown;
pub mod signed_archive;
pub mod started;
pub mod terminal;
pub mod tiny;
pub mod uv;
pub mod venv;
pub mod victim;
pub mod visitor;
pub mod wheel;

use std::path::PathBuf;
use std::process::{Command, Output};

/// Where parts that take long to make are kept between runs: `target/test-parts`,
/// or `$DLPACK_TEST_PARTS` to share them among checkouts.
pub fn parts() -> PathBuf {
    let parts = match std::env::var_os("DLPACK_TEST_PARTS") {
        Some(parts) => PathBuf::from(parts),
        None => PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-parts"),
    };
    std::fs::create_dir_all(&parts).unwrap_or_else(|error| panic!("can't create {}: {error}", parts.display()));
    parts
}

/// So many bytes that no compressor makes less of: the same each time.
pub fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(length as u64).fill(&mut bytes);
    bytes
}

/// Runs a program of Debian's package `package` and returns what it printed.
///
/// Panics with its stderr if it fails, and with how to get it if it isn't there.
#[track_caller]
pub fn output(command: &mut Command, package: &str) -> Output {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => panic!("can't run {program}: {error}\nhint: apt-get install {package}, or run scripts/test"),
    };
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
