//! Owners where the sandbox can't have what it wants of seccomp: each mode is taken by
//! itself, told of once, and does what it says.

use std::process::Command;

use super::steps::{entries, layer, world};
use super::support::command::Dlpack;
use super::support::sandbox::refusing;

const RECORDED: &str = "owners that steps give are recorded but not shown to them";
const LOST: &str = "owners that steps give are lost";

/// Two layers, each with a file of another owner.
fn two_layers() -> Dlpack {
    let one = |name: &str| {
        let script =
            format!("echo x >/{name}; chown 12:34 /{name}; chmod 640 /{name}; stat -c %u:%g /{name} >>/{name}");
        layer(&script, &format!("name = \"{name}\""))
    };
    world(&format!("{}{}", one("one"), one("two")))
}

/// Builds what `command` builds, and returns what it said and of the file `two` what the
/// step saw as its owner, its mode, and the owner that the layer has.
fn built(dlpack: &Dlpack, mut command: Command) -> (String, (String, u32, (u64, u64))) {
    let ran = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success(), "{said}");
    let entries = entries(dlpack, String::from_utf8_lossy(&ran.stdout).trim());
    let [(path, mode, owner, content)] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!(path, "two");
    (said, (content.lines().last().expect("two lines").to_owned(), *mode, *owner))
}

#[test]
fn owners_are_shown_recorded_or_lost_as_the_machine_allows_and_it_is_told_once() {
    const LISTEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/listen.py");
    let realtime = ["prlimit", "--rttime=60000000", "--"];
    let refused = refusing(&["listener=EPERM"]);
    // what a step runs in, what is said of it, what the step sees, what the layer has
    type Case<'a> = (&'a [&'a str], Option<&'a str>, &'a str, (u64, u64));
    let cases: [Case<'_>; 4] = [
        (&["env"], None, "12:34", (12, 34)),
        (&realtime, Some(RECORDED), "0:0", (12, 34)),
        (&["python3", LISTEN], Some(LOST), "0:0", (0, 0)),
        (&refused, Some(LOST), "0:0", (0, 0)),
    ];
    for (wrapper, told, seen, owner) in cases {
        let dlpack = two_layers();
        let (said, file) = built(&dlpack, dlpack.command_in(wrapper, ["build"]));
        assert_eq!(file, (seen.to_owned(), 0o640, owner), "{wrapper:?}\n{said}");
        for message in [RECORDED, LOST] {
            assert_eq!(said.matches(message).count(), usize::from(told == Some(message)), "{wrapper:?}\n{said}");
        }
    }
}

#[test]
fn a_profile_without_seccomp_is_an_error_that_says_so() {
    let dlpack = two_layers();
    let ran = dlpack.command_in(&refusing(&["seccomp=EPERM"]), ["build", "--quiet"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(8), "{said}");
    assert!(said.contains("can't set a seccomp filter") && said.contains("Operation not permitted"), "{said}");
}
