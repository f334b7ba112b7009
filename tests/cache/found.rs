//! An empty disk finds what was pushed from another one.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::{ARTIFACT, Registry, count, elsewhere, home, layers_in, moved, numbers, sums};
use crate::support::command::{Dlpack, Ran};
use crate::support::registry::DebianRegistry;
use crate::support::sandbox::refusing;
use crate::support::{output, tiny};
use dlpack::registry::serve::Features;

#[test]
fn an_empty_disk_pushes_an_unchanged_recipe_without_a_byte_of_a_layer() {
    let registry = Registry::start();
    let (first, target) = (home(), registry.reference("team/env:1"));
    let pushed = first.json(["push", &target]);
    assert_eq!(sums(&pushed).map(Clone::clone), numbers([6, 0, 0, 7]), "{pushed}");
    registry.asked();

    let second = elsewhere(&first);
    let again = second.json(["push", &registry.reference("team/env:2")]);
    assert_eq!(again["digest"], pushed["digest"]);
    assert_eq!(sums(&again).map(Clone::clone), numbers([0, 7, 0, 0]), "{again}");
    let asked = registry.asked();
    assert_eq!(moved(&asked), Vec::<&String>::new());
    assert_eq!(count(&asked, "/referrers/"), 1, "all records in one round trip: {asked:#?}");
    assert_eq!(count(&asked, "HEAD "), 7, "each layer once, and the config: {asked:#?}");
    assert_eq!(count(&asked, "PUT "), 1, "the manifest: {asked:#?}");
    assert_eq!(asked.len(), 9, "{asked:#?}");
    assert_eq!(layers_in(&second), 0, "no layer was made or fetched");
    assert!(!second.store().join("downloads/sha256").read_dir().unwrap().any(|_| true), "no wheel was fetched");
}

#[test]
fn without_a_list_of_referrers_each_layer_is_asked_for_once_by_its_tag() {
    let registry = Registry::with(Features { referrers: false, ..Features::default() });
    let (first, target) = (home(), registry.reference("team/env:1"));
    let pushed = first.json(["push", &target]);
    registry.asked();
    let again = elsewhere(&first).json(["push", &target]);
    assert_eq!((&again["digest"], &again["built"], &again["present"]), (&pushed["digest"], &json!(0), &json!(7)));
    let asked = registry.asked();
    assert_eq!(
        (count(&asked, "/referrers/"), count(&asked, "GET /v2/team/env/manifests/dlpack-")),
        (1, 6),
        "{asked:#?}"
    );
    assert_eq!(asked.len(), 15, "{asked:#?}");
}

#[test]
fn on_debians_registry_records_are_found_by_their_tags() {
    let registry = DebianRegistry::start();
    let (first, target) = (home(), registry.reference("team/env:1"));
    let pushed = first.json(["push", &target]);
    registry.forget_requests();
    let second = elsewhere(&first);
    let again = second.json(["push", &target]);
    assert_eq!((&again["digest"], &again["built"], &again["present"]), (&pushed["digest"], &json!(0), &json!(7)));
    assert_eq!(registry.blob_reads(), []);
}

#[test]
fn one_changed_wheel_is_the_one_that_an_empty_disk_makes_and_sends() {
    let registry = Registry::start();
    let (first, target) = (home(), registry.reference("team/env:1"));
    first.ok(["push", &target]);
    first.edit("dlpack.toml", "six==1.16.0", "six==1.15.0");
    first.ok(["lock"]);
    let second = elsewhere(&first);
    let plan = second.ok(["plan", &target]);
    assert_eq!(plan.matches("in the target, by a record").count(), 5, "{plan}");
    let pushed = second.json(["push", &target]);
    assert_eq!(sums(&pushed).map(Clone::clone), numbers([1, 5, 0, 2]), "{pushed}");
    assert_eq!(layers_in(&second), 0, "it went out while it was made");
    assert_eq!(second.json(["push", &target])["digest"], first.ok(["build"]).as_str());
    let third = elsewhere(&first).json(["push", &target]);
    assert_eq!(sums(&third).map(Clone::clone), numbers([0, 7, 0, 0]), "the new one is recorded, too: {third}");
}

#[test]
fn records_of_another_repository_are_mounted_from_there_and_kept_there() {
    let registry = Registry::start();
    let (first, cache) = (home(), registry.reference("team/cache"));
    let pushed = first.json(["push", &registry.reference("team/env:1"), "--cache", &cache]);
    let asked = registry.asked();
    assert_eq!(
        (count(&asked, "PUT /v2/team/cache/manifests/dlpack-"), count(&asked, "PUT /v2/team/env/manifests/")),
        (7, 1)
    );
    let second = elsewhere(&first);
    let again = second.json(["push", &registry.reference("other/env:1"), "--cache", &cache]);
    assert_eq!(again["digest"], pushed["digest"]);
    assert_eq!(sums(&again).map(Clone::clone), numbers([0, 0, 6, 1]), "six layers and the config: {again}");
    assert_eq!(layers_in(&second), 0);
    let third = elsewhere(&first).json(["push", &registry.reference("other/env:2"), "--no-cache"]);
    assert_eq!((&third["digest"], &third["built"]), (&pushed["digest"], &json!(6)), "--no-cache asks nobody");
}

#[test]
fn where_no_mount_is_granted_what_a_cache_has_goes_from_repository_to_repository() {
    let registry = Registry::with(Features { mount: false, ..Features::default() });
    let (first, cache) = (home(), registry.reference("team/cache"));
    let pushed = first.json(["push", &registry.reference("team/env:1"), "--cache", &cache]);
    let second = elsewhere(&first);
    let again = second.json(["push", &registry.reference("other/env:1"), "--cache", &cache]);
    assert_eq!(again["digest"], pushed["digest"]);
    assert_eq!(sums(&again).map(Clone::clone), numbers([0, 0, 0, 7]), "{again}");
    assert_eq!(layers_in(&second), 0, "through memory");
}

#[test]
fn a_sandboxed_layer_that_a_cache_has_needs_no_sandbox() {
    let registry = Registry::start();
    let (first, target) = (Dlpack::unprivileged(), registry.reference("team/stepped:1"));
    tiny::layout(&first.work());
    let steps = "[[layer]]\nkind = \"run\"\nname = \"one\"\ncommand = \"echo one >/one\"\n\
                 [[layer]]\nkind = \"run\"\nname = \"two\"\ncommand = \"cat /one /one >/two\"\n";
    first.write("dlpack.toml", &format!("{}{steps}", tiny::BASE));
    let pushed = first.ok(["push", &target]);

    let nowhere = refusing(&["unshare-user=EPERM", "clone-new=EPERM"]);
    let on_an_empty_disk = |arguments: &[&str]| {
        let home = Dlpack::unprivileged();
        for file in ["dlpack.toml", "dlpack.lock"] {
            fs::copy(first.work().join(file), home.work().join(file)).unwrap();
        }
        tiny::layout(&home.work());
        let ran = Ran::from(home.command_in(&nowhere, arguments).output().unwrap());
        (ran, home.store().join("rootfs").exists())
    };
    let (alone, _) = on_an_empty_disk(&["push", &target, "--no-cache"]);
    assert!(alone.stderr.contains("this machine lets nobody make a sandbox"), "{}", alone.stderr);
    let (again, extracted) = on_an_empty_disk(&["push", &target]);
    assert_eq!((again.status, again.stdout.trim_end()), (0, pushed.as_str()), "{}", again.stderr);
    assert!(!extracted, "nothing needs the base's files");
}

#[test]
fn podman_pulls_what_was_pushed_by_records_alone() {
    let registry = DebianRegistry::start();
    let (first, target) = (home(), registry.reference("team/env:1"));
    first.ok(["push", &target]);
    let again = registry.reference("team/env:2");
    let digest = elsewhere(&first).ok(["push", &again]);
    let directory = first.home().join("podman");
    let podman = |arguments: &[&str]| {
        let mut command = Command::new("podman");
        command.arg("--root").arg(directory.join("root")).arg("--runroot").arg(directory.join("run"));
        let printed = output(command.args(["--storage-driver", "vfs"]).args(arguments), "podman").stdout;
        String::from_utf8(printed).unwrap().trim_end().to_owned()
    };
    podman(&["pull", "--quiet", "--tls-verify=false", &again]);
    assert_eq!(podman(&["image", "inspect", "--format", "{{.Digest}}", &again]), digest);
    assert_eq!(podman(&["image", "inspect", "--format", "{{len .RootFS.Layers}}", &again]), "6");
}

#[test]
fn records_of_another_registry_stream_across_and_not_to_the_disk() {
    let (here, there) = (Registry::start(), DebianRegistry::start());
    let first = home();
    let pushed = first.json(["push", &there.reference("team/env:1")]);
    there.forget_requests();
    let second = elsewhere(&first);
    let again = second.json(["push", &here.reference("team/env:1"), "--cache", &there.reference("team/env")]);
    assert_eq!(again["digest"], pushed["digest"]);
    assert_eq!(sums(&again).map(Clone::clone), numbers([0, 0, 0, 7]), "{again}");
    assert_eq!((there.blob_reads().len(), layers_in(&second)), (6, 0), "each once, and none on this disk");
}

#[test]
fn what_a_cache_at_another_registry_is_sent_is_shown_as_it_goes() {
    let (here, there) = (Registry::start(), Registry::start());
    let target = here.reference("team/env:1");
    let ran = home().run(["push", &target, "--cache", &there.reference("team/cache"), "--verbose"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let told = ran.stderr.lines().filter(|line| line.starts_with("push ") && line.contains(" to the cache"));
    assert_eq!(told.filter(|line| line.contains("sent")).count(), 6, "{}", ran.stderr);
}

#[test]
fn a_build_without_a_target_fetches_what_a_cache_knows_and_needs_no_wheel() {
    let registry = Registry::start();
    let (first, target) = (home(), registry.reference("team/env:1"));
    let pushed = first.json(["push", &target]);
    let second = elsewhere(&first);
    let built = second.json(["build", "--cache", &registry.reference("team/env")]);
    assert_eq!((&built["digest"], &built["built"]), (&pushed["digest"], &json!(0)));
    assert_eq!(layers_in(&second), 6);
    assert!(second.ok(["cache", "verify"]).contains(" 0 damaged"));
    assert_eq!(second.json(["build"])["built"], 0, "their keys are known here now");
}

#[test]
fn records_are_written_once_and_read_by_other_tools() {
    let registry = DebianRegistry::start();
    let (first, target) = (home(), registry.reference("team/env:1"));
    first.ok(["push", &target]);
    registry.forget_requests();
    first.ok(["push", &target]);
    let puts = registry.requests().into_iter().filter(|request| request.method == "PUT").count();
    assert_eq!(puts, 1, "the image's manifest, and no record again");
    let tags =
        output(Command::new("skopeo").args(["list-tags", "--tls-verify=false"]).arg(docker(&registry)), "skopeo");
    let tags: Value = serde_json::from_slice(&tags.stdout).unwrap();
    let tags: Vec<&str> = tags["Tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
    let records: Vec<&str> = tags.into_iter().filter(|tag| tag.starts_with("dlpack-")).collect();
    assert_eq!(records.len(), 6, "{records:?}");
    let record = format!("{}:{}", docker(&registry), records[0]);
    let raw = output(Command::new("skopeo").args(["inspect", "--raw", "--tls-verify=false", &record]), "skopeo");
    let raw: Value = serde_json::from_slice(&raw.stdout).unwrap();
    assert_eq!((&raw["artifactType"], raw["layers"].as_array().unwrap().len()), (&json!(ARTIFACT), 1), "{raw}");
    assert_eq!(raw["subject"], Value::Null, "nobody lists it there");
    let copied = first.work().join("copied");
    let directory = format!("dir:{}", copied.display());
    output(Command::new("skopeo").args(["copy", "--src-tls-verify=false", &record, &directory]), "skopeo");
    let layer = raw["layers"][0]["digest"].as_str().unwrap();
    assert!(copied.join(layer.trim_start_matches("sha256:")).is_file(), "the layer comes with it");
}

fn docker(registry: &DebianRegistry) -> String {
    format!("docker://{}", registry.reference("team/env"))
}
