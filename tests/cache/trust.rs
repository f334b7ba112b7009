//! Records that are not true, and records that nobody vouches for: never a wrong image.

use std::fs;

use dlpack::registry::serve::{Fault, Features, What};
use serde_json::{Value, json};

use super::{Registry, count, elsewhere, home, repository, wait};
use crate::support::command::Dlpack;

/// RFC 8410 section 10, and its public half.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                   -----END PRIVATE KEY-----\n";
const PUBLIC: &str = "ed25519:Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";

/// A registry with an image and its records, the home that pushed it, and its digest.
fn pushed(features: Features) -> (Registry, Dlpack, String) {
    let registry = Registry::with(features);
    let first = home();
    let digest = first.ok(["push", &registry.reference("team/env:1")]);
    (registry, first, digest)
}

/// The record in a manifest.
fn told(manifest: &Value) -> Value {
    serde_json::from_str(manifest["annotations"]["dev.dlpack.record"].as_str().unwrap()).unwrap()
}

/// The manifest with another record in it, written in the future: nobody's is newer.
fn retold(manifest: &Value, change: impl FnOnce(&mut Value)) -> Value {
    let mut record = told(manifest);
    change(&mut record);
    let mut manifest = manifest.clone();
    manifest["annotations"]["dev.dlpack.record"] = json!(record.to_string());
    manifest["annotations"]["org.opencontainers.image.created"] = json!("2100-01-01T00:00:00Z");
    manifest
}

fn tag(manifest: &Value) -> String {
    format!("dlpack-{}", told(manifest)["key"].as_str().unwrap().trim_start_matches("sha256:"))
}

/// A build on an empty disk that goes by the records: how many layers it made, and what it said.
fn rebuilt(registry: &Registry, first: &Dlpack, digest: &str) -> (u64, String) {
    let second = elsewhere(first);
    let cache = registry.reference("team/env");
    let ran = second.run(["build", "--json", "--cache", &cache]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let built: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(built["digest"], digest, "the image is what its lock says");
    let warnings = ran.stderr.lines().filter(|line| line.contains("\"warning\""));
    (built["built"].as_u64().unwrap(), warnings.collect::<Vec<_>>().join("\n"))
}

#[test]
fn what_a_record_promises_is_held_against_the_blob_and_its_tar() {
    let (registry, first, digest) = pushed(Features::default());
    assert_eq!(rebuilt(&registry, &first, &digest), (0, String::new()));
    let records = registry.records();
    let zeros = format!("sha256:{}", "0".repeat(64));
    registry.put(&tag(&records[0]), &retold(&records[0], |record| record["diffId"] = json!(zeros)));
    let (built, said) = rebuilt(&registry, &first, &digest);
    assert!(built == 1 && said.contains("is not used") && said.contains("unpacks to"), "{said}");
    registry.put(&tag(&records[1]), &retold(&records[1], |record| record["descriptor"]["size"] = json!(1)));
    registry.put(&tag(&records[2]), &retold(&records[2], |record| record["descriptor"]["digest"] = json!(zeros)));
    let again = rebuilt(&registry, &first, &digest);
    assert_eq!(
        (again.0, again.1.lines().count()),
        (1, 1),
        "an older, true record is gone by where a blob is not there"
    );
}

#[test]
fn a_blob_that_is_not_there_or_is_damaged_is_made_here() {
    let (registry, first, digest) = pushed(Features::default());
    let blob = |record: &Value| registry.blob(told(record)["descriptor"]["digest"].as_str().unwrap());
    let records = registry.records();
    fs::remove_file(blob(&records[0])).unwrap();
    let mut bytes = fs::read(blob(&records[1])).unwrap();
    bytes[20] ^= 1;
    fs::write(blob(&records[1]), bytes).unwrap();
    registry.server.set_faults(vec![Fault::on("GET", "/blobs/", What::Flip(30))]);
    let (built, said) = rebuilt(&registry, &first, &digest);
    assert!((2..=3).contains(&built), "{built} {said}");
    assert!(said.contains("is not used"), "{said}");
}

#[test]
fn a_tag_with_the_record_of_another_key_is_a_miss() {
    let (registry, first, digest) = pushed(Features { referrers: false, ..Features::default() });
    let records = registry.records();
    registry.put(&tag(&records[0]), &records[1]);
    let mut other = records[2].clone();
    other["layers"] = records[1]["layers"].clone();
    registry.put(&tag(&records[2]), &other);
    let mut bare = records[3].clone();
    bare["annotations"] = json!({});
    registry.put(&tag(&records[3]), &bare);
    assert_eq!(rebuilt(&registry, &first, &digest), (3, String::new()));
}

#[test]
fn garbage_among_the_records_is_passed_over() {
    let (registry, first, digest) = pushed(Features::default());
    let record = &registry.records()[0];
    for (n, garbage) in ["", "{", "[]", "\"text\"", "{\"version\":1}", &"[".repeat(10_000)].into_iter().enumerate() {
        let mut manifest = record.clone();
        manifest["annotations"] = json!({ "dev.dlpack.record": garbage, "org.opencontainers.image.created": "soon" });
        registry.put(&format!("garbage-{n}"), &manifest);
    }
    assert_eq!(rebuilt(&registry, &first, &digest), (0, String::new()));
}

#[test]
fn where_a_key_is_pinned_only_what_it_signed_is_used_and_that_is_said_once() {
    let registry = Registry::start();
    let (first, target) = (home(), registry.reference("team/env:1"));
    let unsigned = first.ok(["push", &target]);
    let recipe = fs::read_to_string(first.work().join("dlpack.toml")).unwrap();
    first.write("dlpack.toml", &format!("cache-keys = [{PUBLIC:?}]\n{recipe}"));
    first.ok(["lock"]);
    let (built, said) = rebuilt(&registry, &first, &unsigned);
    assert_eq!((built, said.lines().count()), (6, 1), "{said}");
    assert!(said.contains("records of 6 layers that no key"), "{said}");

    first.ok(["push", &target]);
    assert_eq!(registry.records().len(), 6, "without the secret key nothing is written");
    first.write("key.pem", KEY);
    first.ok(["push", &target, "--sign-key", "key.pem"]);
    assert_eq!(registry.records().len(), 12, "signed ones, beside the others");
    assert_eq!(rebuilt(&registry, &first, &unsigned), (0, String::new()));

    let signed =
        registry.records().into_iter().find(|record| record["annotations"]["dev.dlpack.signature"].is_string());
    let signed = signed.unwrap();
    registry.put(&tag(&signed), &retold(&signed, |record| record["unpacked"] = json!(1)));
    let (built, _) = rebuilt(&registry, &first, &unsigned);
    assert_eq!(built, 0, "the true one is there as before");
}

#[test]
fn a_cache_that_fails_is_said_so_and_done_without() {
    let (registry, first, digest) = pushed(Features::default());
    let answer = What::Answer(422, Vec::new(), Vec::new());
    registry.server.set_faults(vec![Fault::on("GET", "/referrers/", answer).always()]);
    let (built, said) = rebuilt(&registry, &first, &digest);
    assert_eq!(built, 6);
    assert!(said.lines().count() == 1 && said.contains("can't be read, and is done without"), "{said}");
    registry.asked();
    let push = |name: &str| {
        let ran = elsewhere(&first).run(["push", &registry.reference(name)]);
        assert_eq!((ran.status, ran.stdout.trim()), (0, digest.as_str()), "{}", ran.stderr);
        ran.stderr
    };
    let said = push("team/env:2");
    assert_eq!(said.matches("warning:").count(), 1, "it is said once: {said}");
    assert_eq!(count(&registry.asked(), "/referrers/"), 1, "and asked once");

    let answer = What::Answer(422, Vec::new(), Vec::new());
    registry.server.set_faults(vec![Fault::on("PUT", "/manifests/dlpack-", answer).always()]);
    let said = push("team/other:1");
    assert!(said.contains("the image was pushed, but records can't be kept"), "{said}");
}

#[test]
fn a_push_without_a_key_does_not_hide_what_was_signed() {
    let registry = Registry::with(Features { referrers: false, ..Features::default() });
    let (pinned, target) = (home(), registry.reference("team/env:1"));
    let trusting = elsewhere(&pinned);
    let recipe = fs::read_to_string(pinned.work().join("dlpack.toml")).unwrap();
    pinned.write("dlpack.toml", &format!("cache-keys = [{PUBLIC:?}]\n{recipe}"));
    pinned.ok(["lock"]);
    pinned.write("key.pem", KEY);
    let digest = pinned.ok(["push", &target, "--sign-key", "key.pem"]);
    // Of an age at which a push writes them anew.
    for mut record in registry.records() {
        record["annotations"]["org.opencontainers.image.created"] = json!("2000-01-01T00:00:00Z");
        registry.put(&tag(&record), &record);
    }
    let pushed = trusting.json(["push", &target]);
    assert_eq!(
        (&pushed["digest"], &pushed["built"]),
        (&json!(digest), &json!(0)),
        "whoever pins no key takes them, too"
    );
    assert_eq!(rebuilt(&registry, &pinned, &digest), (0, String::new()), "they are there as before");
}

#[test]
fn a_push_without_a_key_renews_what_was_signed() {
    for features in [Features::default(), Features { referrers: false, ..Features::default() }] {
        let registry = Registry::with(features);
        let (pinned, target) = (home(), registry.reference("team/env:1"));
        let trusting = elsewhere(&pinned);
        let recipe = fs::read_to_string(pinned.work().join("dlpack.toml")).unwrap();
        pinned.write("dlpack.toml", &format!("cache-keys = [{PUBLIC:?}]\n{recipe}"));
        pinned.ok(["lock"]);
        pinned.write("key.pem", KEY);
        pinned.ok(["push", &target, "--sign-key", "key.pem"]);
        // whether a key is pinned, and the secret one is elsewhere, or none is
        for somebody in [&trusting, &pinned] {
            let records = tagged(&registry.reference("team/env"));
            pinned.ok(["cache", "gc", &registry.reference("team/env"), "--max-size", "0"]);
            for mut record in records {
                record["annotations"]["org.opencontainers.image.created"] = json!("2000-01-01T00:00:00Z");
                registry.put(&tag(&record), &record);
            }
            somebody.ok(["push", &target]);
            let renewed = tagged(&registry.reference("team/env")).into_iter().filter(|record| {
                let said = |name: &str| record["annotations"][name].as_str();
                said("dev.dlpack.signature").is_some()
                    && said("org.opencontainers.image.created").is_some_and(|created| !created.starts_with("2000"))
            });
            assert_eq!(renewed.count(), 6);
        }
        assert_eq!(rebuilt(&registry, &pinned, &pinned.ok(["build"])), (0, String::new()));
    }
}

/// The records under the tags of `name`.
fn tagged(name: &str) -> Vec<Value> {
    let tags = wait(repository(name).tags()).unwrap();
    let records = tags.iter().filter(|tag| tag.starts_with("dlpack-") && *tag != "dlpack-records");
    records
        .map(|tag| serde_json::from_slice(&wait(repository(name).own_manifest(tag)).unwrap().unwrap().1).unwrap())
        .collect()
}

#[test]
fn a_key_signs_beside_what_nobody_has_signed() {
    let (registry, first, _) = pushed(Features::default());
    first.write("key.pem", KEY);
    for records in [12, 12] {
        first.ok(["push", &registry.reference("team/env:1"), "--sign-key", "key.pem"]);
        assert_eq!(registry.records().len(), records);
    }
}
