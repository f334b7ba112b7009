//! `dlpack doctor`: what it finds on this machine, what it exits with, and that it writes
//! nothing.

#[path = "doctor/machines.rs"]
mod machines;
#[path = "doctor/meanings.rs"]
mod meanings;
#[path = "doctor/read_only.rs"]
mod read_only;
#[path = "doctor/remedies.rs"]
mod remedies;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use dlpack::registry::serve::{Auth, Options, Server};
use dlpack::store::Store;
use serde_json::Value;
use walkdir::WalkDir;

use crate::support::command::{Dlpack, Ran};
use crate::support::embedded::Embedded;
use crate::support::machine::Machine;
use crate::support::sandbox::refusing;

/// Nobody answers there.
const NOBODY: [&str; 2] = ["--registry", "127.0.0.1:9"];

/// The finding about `subject`.
#[track_caller]
fn about<'a>(said: &'a Value, subject: &str) -> &'a Value {
    let found = said["findings"].as_array().expect("findings").iter().find(|finding| finding["subject"] == subject);
    found.unwrap_or_else(|| panic!("nothing about {subject}: {said}"))
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", ran.stdout, ran.stderr))
}

/// All files under `directory` with when they were changed.
fn state(directory: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let entries = WalkDir::new(directory).into_iter().map(|entry| entry.expect("readable"));
    entries.map(|entry| (entry.path().to_owned(), entry.metadata().unwrap().modified().unwrap())).collect()
}

#[test]
fn the_doctor_says_what_it_finds_and_writes_nothing() {
    let dlpack = Dlpack::unprivileged();
    let registry = Embedded::start();
    let before = state(dlpack.home());
    let address = registry.address();
    let ran = dlpack.run(["doctor", "--json", "--registry", &address]);
    assert_eq!(state(dlpack.home()), before, "it wrote");
    let said = json(&ran);
    assert_eq!(about(&said, "user namespaces")["severity"], "ok", "{said}");
    assert_eq!(about(&said, "overlay")["severity"], "ok", "{said}");
    assert!(about(&said, "subuid")["found"].as_str().unwrap().ends_with("not needed"), "{said}");
    let answers = about(&said, &address);
    assert_eq!((&answers["severity"], &answers["problem"]), (&"note".into(), &"not-logged-in".into()), "{said}");
    assert_eq!(said["facts"]["store"]["path"], dlpack.store().to_str().unwrap());
    assert_eq!(said["version"], 1);
    let expected = match said["severity"].as_str().unwrap() {
        "ok" | "note" => 0,
        "warning" => 12,
        _ => 13,
    };
    assert_eq!(ran.status, expected, "{said}");
}

#[test]
fn a_person_sees_what_does_not_work_and_what_to_do() {
    let dlpack = Dlpack::unprivileged();
    let ran = dlpack.run(["doctor", NOBODY[0], NOBODY[1]]);
    assert_eq!(ran.status, 13, "{}{}", ran.stdout, ran.stderr);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let at = lines.iter().position(|line| line.starts_with("  error    127.0.0.1:9")).expect("an error");
    assert!(lines[at].contains("does not answer: Connection refused"), "{}", lines[at]);
    assert!(lines[at + 1..].contains(&"           $ curl -sSI https://127.0.0.1:9/v2/"), "{lines:#?}");
    assert!(lines.last().unwrap().starts_with("1 error"), "{lines:#?}");
    let quiet = dlpack.run(["doctor", "--quiet", NOBODY[0], NOBODY[1]]);
    assert!(!quiet.stdout.contains("  ok  ") && quiet.stdout.contains("127.0.0.1:9"), "{}", quiet.stdout);
}

#[test]
fn a_refused_namespace_is_named_with_its_cause() {
    let dlpack = Dlpack::unprivileged();
    let refused = refusing(&["unshare=EPERM", "clone-new=EPERM"]);
    let mut doctor = dlpack.command_in(&refused, ["doctor", "--json", NOBODY[0], NOBODY[1]]);
    let said = json(&Ran::from(doctor.output().expect("it runs")));
    let namespaces = about(&said, "user namespaces");
    assert_eq!(namespaces["severity"], "error", "{namespaces}");
    assert_eq!(namespaces["problem"], "container-profile", "{namespaces}");
    assert!(namespaces["found"].as_str().unwrap().contains("a seccomp filter refuses"), "{namespaces}");
    assert!(namespaces["commands"][0].as_str().unwrap().contains("seccomp=unconfined"), "{namespaces}");
}

#[test]
fn what_is_broken_is_a_finding_and_the_rest_is_shown() {
    let dlpack = Dlpack::unprivileged();
    std::fs::write(dlpack.registries_conf(), "[[registry]\n").unwrap();
    let own = dlpack.home().join(".config/dlpack");
    std::fs::create_dir_all(&own).unwrap();
    std::fs::write(own.join("remedies.toml"), "[no-such-problem]\nwhy = \"\"\n").unwrap();
    let ran = dlpack.run(["doctor", "--json", "--registry", "ghcr.io"]);
    let said = json(&ran);
    assert_eq!(ran.status, 13, "{said}");
    let registry = about(&said, "ghcr.io");
    assert_eq!((&registry["severity"], &registry["problem"]), (&"error".into(), &"misconfigured".into()), "{said}");
    let found = registry["found"].as_str().unwrap();
    assert!(found.starts_with("can't be asked: ") && found.contains("registries.conf"), "{found}");
    assert!(found.ends_with("TOML parse error at line 1, column 12: unclosed array table, expected `]`"), "{found}");
    assert!(registry["advice"].as_str().unwrap().contains("registries.conf(5)"), "{registry}");
    let remedies = about(&said, "remedies");
    assert_eq!((&remedies["severity"], &remedies["problem"]), (&"warning".into(), &"unreadable-remedies".into()));
    assert!(remedies["found"].as_str().unwrap().contains("no-such-problem"), "{remedies}");
    for subject in ["kernel", "user namespaces", "store", "GPU", "docker"] {
        about(&said, subject);
    }
    // nor does a person without a home miss the rest
    let mut homeless = dlpack.command(["doctor", "--json", NOBODY[0], NOBODY[1]]);
    let ran = homeless.env_remove("HOME").env_remove("DLPACK_STORE").output().map(Ran::from).expect("it runs");
    assert_eq!(about(&json(&ran), "store")["problem"], "store-not-writable", "{}", ran.stdout);
}

#[test]
fn a_registry_that_wants_credentials_says_so_with_and_without_them() {
    let dlpack = Dlpack::unprivileged();
    let directory = tempfile::tempdir().unwrap();
    let auth = Some(Auth::Basic { user: "me".into(), password: "secret".into() });
    let options = Options { auth, ..Options::default() };
    let store = Store::open(directory.path()).unwrap();
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), store, options).unwrap();
    let address = server.address().to_string();
    let as_user = |password: &str| {
        let mut doctor = dlpack.command(["doctor", "--json", "--registry", &address]);
        doctor.env("DLPACK_REGISTRY", &address).env("DLPACK_USERNAME", "me").env("DLPACK_PASSWORD", password);
        let said = json(&Ran::from(doctor.output().expect("it runs")));
        (said["facts"]["registries"][0]["login"]["state"].clone(), about(&said, &address)["severity"].clone())
    };
    assert_eq!(as_user("secret"), ("loggedIn".into(), "ok".into()));
    assert_eq!(as_user("wrong"), ("rejected".into(), "error".into()));
    assert_eq!(as_user(""), ("required".into(), "error".into()));
}

#[test]
fn what_a_recipe_wants_is_read_from_its_lock_or_from_its_base() {
    let dlpack = Dlpack::unprivileged();
    dlpack.write("dlpack.toml", "base = \"nvidia/cuda:12.4.1-devel-ubuntu22.04\"\n");
    let said = json(&dlpack.run(["doctor", "--json", NOBODY[0], NOBODY[1]]));
    assert_eq!(said["facts"]["wanted"]["cuda"]["version"], "12.4.1", "{said}");
    let cuda = about(&said, "CUDA")["found"].as_str().unwrap().to_owned();
    assert!(cuda.starts_with("the recipe has 12.4.1 (the base's tag 12.4.1-devel-ubuntu22.04)"), "{cuda}");
    // the base's registry is asked as well
    assert_eq!(about(&said, "docker.io")["problem"], "unreachable");
    // and none where the base needs none
    dlpack.write("own.toml", "base = { archive = \"debian\", suite = \"bookworm\" }\n");
    let said = json(&dlpack.run(["doctor", "--json", "-r", "own.toml"]));
    assert_eq!(said["facts"]["registries"], serde_json::json!([]), "{said}");
    dlpack.write("broken.toml", "base = 3\n");
    let said = json(&dlpack.run(["doctor", "--json", "-r", "broken.toml", NOBODY[0], NOBODY[1]]));
    assert_eq!(about(&said, "recipe")["problem"], "unreadable-recipe", "{said}");
}

#[test]
fn a_machines_gpus_are_held_against_the_recipe() {
    let dlpack = Dlpack::unprivileged();
    let machine = Machine::with_driver();
    let said = |machine: &Machine, cuda: &str| {
        dlpack.write("dlpack.toml", &format!("base = \"nvidia/cuda:{cuda}-base-ubuntu22.04\"\n"));
        let mut doctor = dlpack.command(["doctor", "--json", NOBODY[0], NOBODY[1]]);
        json(&Ran::from(doctor.env("DLPACK_DRIVER_ROOT", machine.root()).output().expect("it runs")))
    };
    let fits = said(&machine, "12.4.1");
    let gpus = "1 × NVIDIA A100-SXM4-40GB, compute capability 8.0; 1 × NVIDIA A100-SXM4-40GB";
    assert_eq!(about(&fits, "GPU")["found"], gpus);
    assert_eq!(about(&fits, "driver")["found"], "550.54.15, open kernel module");
    assert_eq!(about(&fits, "CUDA")["severity"], "ok", "{fits}");
    assert_eq!(about(&fits, "CDI")["problem"], "no-cdi");
    assert_eq!(about(&fits, "container toolkit")["problem"], "no-container-toolkit");
    assert_eq!(about(&said(&machine, "13.0.1"), "CUDA")["problem"], "old-driver");
    machine.write("/etc/cdi/nvidia.yaml", "cdiVersion: [\n");
    assert_eq!(about(&said(&machine, "12.4.1"), "CDI")["problem"], "malformed-cdi");
    let bare = said(&Machine::bare(), "12.4.1");
    assert_eq!(about(&bare, "GPU")["severity"], "ok", "{bare}");
    assert_eq!(about(&bare, "CUDA")["severity"], "note", "{bare}");
}
