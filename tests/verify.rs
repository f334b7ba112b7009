//! `dlpack verify`: an image is proved by being made again, and by nothing that anybody
//! wrote down.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use dlpack::oci::Digest;
use dlpack::store::{LayerKey, Store};
use serde_json::{Value, json};

use super::steps::{layer, world};
use super::support::command::{Dlpack, Ran};
use super::support::embedded::Embedded;
use super::support::shown::Shown;

/// What is said of each layer, and of config and manifest: the verdict, and the reason if there is one.
fn verdicts(ran: &Ran) -> Vec<String> {
    let told: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let layers = told["layers"].as_array().expect("layers").iter();
    let parts = layers.chain([&told["config"], &told["manifest"]]);
    let said = parts.map(|part| [&part["verdict"], &part["reason"]].into_iter().filter_map(Value::as_str));
    said.map(|said| said.collect::<Vec<_>>().join(" ")).collect()
}

/// Every file of the store's own, with its length, but what says when something was used or written.
fn files(dlpack: &Dlpack) -> BTreeMap<PathBuf, u64> {
    let areas = ["blobs", "keys", "overlays", "tmp", "scratch", "index.json"].map(|area| dlpack.store().join(area));
    let files = areas.into_iter().filter(|area| area.exists()).flat_map(walkdir::WalkDir::new);
    let files = files.map(|entry| entry.expect("readable")).filter(|entry| entry.file_type().is_file());
    files.map(|entry| (entry.path().to_owned(), entry.metadata().expect("there").len())).collect()
}

#[test]
fn every_digest_is_proved_without_a_record_being_believed_or_a_layer_being_kept() {
    let registry = Embedded::start();
    let target = registry.reference("team/env:1");
    let dlpack = Dlpack::new();
    dlpack.write_recipe("\"scratch\"");
    let digest = dlpack.ok(["push", &target, "--keep-blobs"]);
    // From here on all records lead to one layer.
    let store = Store::open(&dlpack.store()).unwrap();
    let manifest: Value = serde_json::from_slice(&registry.manifest(&digest)).unwrap();
    let keys: Vec<LayerKey> = manifest["layers"].as_array().unwrap().iter().map(key).collect();
    let one = store.record(&keys[0]).unwrap().unwrap();
    keys.iter().for_each(|key| store.put_record(key, &one).unwrap());
    assert_ne!(dlpack.ok(["build"]), digest, "a build goes by them");
    let before = files(&dlpack);
    registry.server.clear_requests();

    let ran = dlpack.run(["verify", &target, "--json", "--quiet"]);
    assert_eq!((ran.status, verdicts(&ran)), (0, vec!["proved".to_owned(); 8]), "{ran:?}");
    assert_eq!(files(&dlpack), before, "the store is as it was");
    let asked = registry.server.requests();
    assert!(asked.iter().all(|asked| ["GET", "HEAD"].contains(&asked.method.as_str())), "{asked:#?}");
    assert!(asked.iter().all(|asked| !asked.target.contains("/referrers/")), "no cache is asked: {asked:#?}");
}

fn key(layer: &Value) -> LayerKey {
    LayerKey(layer["annotations"]["dev.dlpack.key"].as_str().unwrap().parse::<Digest>().unwrap())
}

#[test]
fn sandboxed_layers_are_made_again_in_the_sandbox() {
    let registry = Embedded::start();
    let target = registry.reference("team/env:1");
    let same = layer("mkdir /srv; echo one >/srv/one; chown 12:34 /srv/one", "name = \"same\"");
    let over = layer("cat /srv/one >/srv/two", "name = \"over\"");
    let motd = "[[layer]]\nkind = \"files\"\nfiles = [{ content = \"hello\\n\", to = \"/etc/motd\" }]\n";
    let dlpack = world(&format!("{same}{motd}{over}"));
    dlpack.ok(["push", &target]);
    let before = files(&dlpack);
    let ran = dlpack.run(["verify", &target, "--json", "--quiet"]);
    assert_eq!((ran.status, verdicts(&ran)), (0, vec!["proved".to_owned(); 6]), "{ran:?}");
    assert_eq!(files(&dlpack), before);

    // What gives other bytes each time is found, and named; what lies over it was made on something else.
    let other = layer("cat /proc/sys/kernel/random/uuid >/id", "name = \"other\"");
    let seeing = layer("cat /id >/two", "name = \"seeing\"");
    dlpack.write("dlpack.toml", &format!("{}{same}{other}{motd}{seeing}", crate::support::tiny::BASE));
    dlpack.ok(["lock"]);
    dlpack.ok(["push", &target]);
    let ran = dlpack.run(["verify", &target, "--json", "--quiet"]);
    let expected = ["proved", "proved", "differs bytes", "proved", "differs inputs", "differs", "differs"];
    assert_eq!((ran.status, verdicts(&ran)), (10, expected.map(str::to_owned).to_vec()), "{ran:?}");
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    let differing = &told["layers"][2];
    assert_eq!(
        (&differing["layer"], &differing["position"], &told["verdict"]),
        (&json!("other"), &json!(3), &json!("differs"))
    );
    assert_ne!(differing["expected"]["diffId"], differing["made"]["diffId"]);
}

#[test]
fn what_a_sandbox_makes_that_lacks_something_is_not_proved_and_not_disproved() {
    const LISTEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/listen.py");
    let registry = Embedded::start();
    let target = registry.reference("team/env:1");
    let owned = layer("echo x >/one; chown 12:34 /one", "name = \"owned\"");
    let over = layer("echo y >/two", "name = \"over\"");
    let dlpack = world(&format!("{owned}{over}"));
    dlpack.ok(["push", &target]);
    let verify = ["verify", &target, "--json", "--quiet"];
    let ran = Ran::from(dlpack.command_in(&["python3", LISTEN], verify).output().expect("it runs"));
    let expected = ["proved", "unproved sandbox", "proved", "unproved", "unproved"];
    assert_eq!((ran.status, verdicts(&ran)), (8, expected.map(str::to_owned).to_vec()), "{ran:?}");
}

#[test]
fn what_is_missing_is_said_as_what_is_there() {
    let registry = Embedded::start();
    let target = registry.reference("team/env:1");
    let dlpack = Dlpack::new();
    let motd = |text: &str, to: &str| {
        format!(
            "[[layer]]\nkind = \"files\"\nname = \"{text}\"\nfiles = [{{ content = \"{text}\", to = \"/{to}\" }}]\n"
        )
    };
    let lock = |layers: &str| {
        dlpack.write("dlpack.toml", &format!("base = \"scratch\"\n{layers}"));
        dlpack.ok(["lock"]);
    };
    let mut shown = Shown::new();
    shown.replace(registry.address(), "REGISTRY");
    shown.replace(dlpack.home().display().to_string(), "HOME");
    dlpack.write("dlpack.toml", &format!("base = \"scratch\"\n{}", motd("one", "a")));
    shown.run("no lock", &mut dlpack.command(["verify", &target]));
    lock(&motd("one", "a"));
    shown.run("no image", &mut dlpack.command(["verify", &target]));
    dlpack.ok(["push", &target]);
    lock(&format!("{}{}", motd("one", "a"), motd("two", "b")));
    shown.run("a layer less than the lock has", &mut dlpack.command(["verify", &target]));
    let ran = dlpack.run(["verify", &target, "--json"]);
    assert_eq!(verdicts(&ran), ["proved", "differs missing", "differs", "differs"], "{ran:?}");
    dlpack.ok(["push", &target]);
    lock(&motd("uno", "a"));
    let ran = dlpack.run(["verify", &target, "--json"]);
    assert_eq!(verdicts(&ran), ["differs inputs", "differs surplus", "differs", "differs"], "{ran:?}");
    // Other words in the config alone.
    lock(&format!("config = {{ workdir = \"/srv\" }}\n{}{}", motd("one", "a"), motd("two", "b")));
    shown.run("another config", &mut dlpack.command(["verify", &target]));
    assert!(fs::read_dir(dlpack.store().join("tmp")).unwrap().next().is_none(), "nothing is left");
    shown.is("images/verify");
}
