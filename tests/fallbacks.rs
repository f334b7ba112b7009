//! Owners where the sandbox can't have what it wants of seccomp: each mode is taken by
//! itself, told of once, and does what it says.

use std::process::Command;

use serde_json::Value;

use super::steps::{entries, layer};
use super::support::command::Dlpack;
use super::support::embedded::Embedded;
use super::support::sandbox::refusing;
use super::support::tiny;

const RECORDED: &str = "owners that steps give are recorded but not shown to them";
const NO_NETWORK_NAMESPACE: &str = "steps without network reach it nonetheless";
const LOST: &str = "owners that steps give are lost";

/// A supervisor of containers has the one listener that a process may have.
const LISTENED: [&str; 2] = ["python3", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/listen.py")];
/// A limit of realtime CPU time, by which processes can't be told apart.
const REALTIME: [&str; 3] = ["prlimit", "--rttime=60000000", "--"];
/// What a container's profile refuses its root.
const CONTAINER: [&str; 4] = ["unshare=EPERM", "clone-new=EPERM", "mount=EPERM", "pivot_root=EPERM"];

/// Two layers, each with a file of another owner.
fn two_layers() -> Dlpack {
    two_layers_of(Dlpack::unprivileged())
}

/// The same for whoever `dlpack` runs as.
fn two_layers_of(dlpack: Dlpack) -> Dlpack {
    let one = |name: &str| {
        let script =
            format!("echo x >/{name}; chown 12:34 /{name}; chmod 640 /{name}; stat -c %u:%g /{name} >>/{name}");
        layer(&script, &format!("name = \"{name}\""))
    };
    tiny::layout(&dlpack.work());
    dlpack.write("dlpack.toml", &format!("{}{}{}", tiny::BASE, one("one"), one("two")));
    dlpack
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
    let refused = refusing(&["listener=EPERM"]);
    // what a step runs in, what is said of it, what the step sees, what the layer has
    type Case<'a> = (&'a [&'a str], Option<&'a str>, &'a str, (u64, u64));
    let cases: [Case<'_>; 4] = [
        (&["env"], None, "12:34", (12, 34)),
        (&REALTIME, Some(RECORDED), "0:0", (12, 34)),
        (&LISTENED, Some(LOST), "0:0", (0, 0)),
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

/// How many layers `command` says that it made, the image, and what it told.
fn made(mut command: Command) -> (u64, String, String) {
    let ran = command.arg("--json").output().expect("it runs");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success(), "{said}");
    let told: Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    (told["built"].as_u64().expect("a number"), told["digest"].as_str().expect("a digest").to_owned(), said)
}

#[test]
fn what_was_made_without_something_is_taken_by_machines_that_lack_it_and_by_no_whole_one() {
    let container = refusing(&CONTAINER);
    let no_network = refusing(&["clone-net=ENOSPC"]);
    let cases: [(Dlpack, &[&str], &str); 4] = [
        (Dlpack::unprivileged(), &no_network, NO_NETWORK_NAMESPACE),
        (Dlpack::unprivileged(), &REALTIME, RECORDED),
        (Dlpack::unprivileged(), &LISTENED, LOST),
        (Dlpack::new(), &container, NO_NETWORK_NAMESPACE),
    ];
    for (dlpack, wrapper, told) in cases {
        let dlpack = two_layers_of(dlpack);
        let lacking = || made(dlpack.command_in(wrapper, ["build"]));
        let (first, image, said) = lacking();
        assert_eq!((first, said.matches(told).count()), (2, 1), "{wrapper:?}\n{said}");
        let (second, same, said) = lacking();
        assert_eq!((second, &same, said.matches(told).count()), (0, &image, 1), "{wrapper:?}\n{said}");
        let plan = dlpack.command_in(wrapper, ["plan"]).output().expect("it runs");
        assert_eq!(String::from_utf8_lossy(&plan.stdout).matches("in the store").count(), 2, "{plan:?}");

        let (whole, other, said) = made(dlpack.command(["build"]));
        assert_eq!((whole, said.contains(told)), (2, false), "{wrapper:?}\n{said}");
        assert_ne!(other, image);
        // a whole one is better than one's own
        let (taken, better, said) = lacking();
        assert_eq!((taken, better, said.contains(told)), (0, other, false), "{wrapper:?}\n{said}");
    }
}

#[test]
fn a_cache_gives_what_was_made_without_something_to_machines_that_lack_it() {
    let registry = Embedded::start();
    let target = registry.reference("team/env:1");
    let first = two_layers();
    first.ok(["lock"]);
    let elsewhere = || {
        let home = two_layers();
        std::fs::copy(first.work().join("dlpack.lock"), home.work().join("dlpack.lock")).expect("copied");
        home
    };
    let lacking = |dlpack: &Dlpack| made(dlpack.command_in(&LISTENED, ["push", &target]));
    let (pushed, image, _) = lacking(&first);
    let second = elsewhere();
    assert_eq!((pushed, lacking(&second).0, lacking(&second).1), (2, 0, image));
    assert_eq!(second.json(["push", &target])["built"], 2, "a whole machine makes whole ones");
    // and from now on everybody has those
    let third = elsewhere();
    let (built, image, said) = lacking(&third);
    assert_eq!((built, said.contains(LOST)), (0, false), "{said}");
    assert_eq!(second.ok(["build"]), image);
}

#[test]
fn a_profile_without_seccomp_is_an_error_that_says_so() {
    let dlpack = two_layers();
    let ran = dlpack.command_in(&refusing(&["seccomp=EPERM"]), ["build", "--quiet"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(8), "{said}");
    assert!(said.contains("can't set a seccomp filter") && said.contains("Operation not permitted"), "{said}");
}
