//! Several at once: eight builds in one store, collections during a build, and a store that
//! can only be read.

use std::process::Stdio;

use super::home::{Home, State};
use super::{Expected, Tally};
use crate::support::command::Ran;

/// How many build at once.
const BUILDS: usize = 8;

/// Eight builds at once, `rounds` times.
pub fn builds(home: &Home, rounds: usize) -> Tally {
    let mut tally = Tally::new("eight builds at once in one store");
    for round in 0..rounds {
        home.restore(State::Fetched);
        tally.count_as(BUILDS, &format!("round {round}"), || {
            let spawn = |_| {
                let mut build = home.dlpack.command(["build"]);
                build.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            };
            let builds: Vec<_> = (0..BUILDS).map(spawn).collect();
            for build in builds {
                let ran = Ran::from(build.wait_with_output().unwrap());
                assert_eq!((ran.status, ran.stdout.trim_end()), (0, home.image.as_str()), "{}", ran.stderr);
            }
            home.assert_heals(&["build"]);
            Expected::Survived
        });
    }
    tally
}

/// Collections of everything that no tag needs, one after the other while a build runs.
pub fn collections(home: &Home, rounds: usize) -> Tally {
    let mut tally = Tally::new("a collection during a build");
    for round in 0..rounds {
        home.restore(State::Fetched);
        let mut build = home.dlpack.command(["build"]);
        let mut build = build.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut collections = Vec::new();
        while build.try_wait().unwrap().is_none() {
            collections.push(home.dlpack.run(["cache", "gc", "--max-size", "0"]));
        }
        for (at, collection) in collections.iter().enumerate() {
            tally.count(&format!("collection {at} of round {round}"), || match collection.status {
                0 => Expected::Survived,
                _ => {
                    assert!(collection.stderr.contains("is in use by another process"), "{}", collection.stderr);
                    Expected::Refused("InUse")
                }
            });
        }
        tally.count(&format!("the build of round {round}"), || {
            let ran = Ran::from(build.wait_with_output().unwrap());
            assert_eq!((ran.status, ran.stdout.trim_end()), (0, home.image.as_str()), "{}", ran.stderr);
            Expected::Survived
        });
    }
    tally
}

/// What may be asked of a store on a read-only mount: it works, or says that it can't write
/// and what to do; nothing is changed.
pub fn read_only(home: &Home) -> Tally {
    let mut tally = Tally::new("a store on a read-only mount");
    let mount = "mount --bind \"$DLPACK_STORE\" \"$DLPACK_STORE\" && \
                 mount -o remount,ro,bind \"$DLPACK_STORE\" && exec \"$@\"";
    let namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", mount, "sh"];
    for state in [State::Fetched, State::Built] {
        home.restore(state);
        let target = home.target();
        let cases: [&[&str]; 6] =
            [&["plan"], &["cache", "list"], &["cache", "verify"], &["build"], &["push", &target], &["cache", "gc"]];
        for arguments in cases {
            tally.count(&format!("{} on {state:?}", arguments.join(" ")), || {
                let ran = Ran::from(home.dlpack.command_in(&namespace, arguments).output().unwrap());
                if ran.status == 0 {
                    let image = ["build", "push"].contains(&arguments[0]);
                    assert!(!image || ran.stdout.trim_end() == home.image, "{}", ran.stdout);
                    return Expected::Survived;
                }
                assert!(ran.status > 0 && ran.status < 100, "{}", ran.stderr);
                assert!(ran.stderr.contains("Read-only file system"), "{}", ran.stderr);
                assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
                Expected::Refused("Io")
            });
        }
        tally.count(&format!("afterwards on {state:?}"), || {
            home.assert_heals(&["build"]);
            Expected::Survived
        });
    }
    tally
}
