//! Old records go, and nothing else does.

use dlpack::oci::Digest;
use dlpack::registry::serve::{Fault, Features, What};
use serde_json::{Value, json};

use super::{Registry, elsewhere, home, put, repository, wait};
use crate::support::command::Dlpack;
use crate::support::registry::DebianRegistry;

/// The tags of records in `name`.
fn tags(name: &str) -> Vec<String> {
    let tags = wait(repository(name).tags()).unwrap();
    tags.into_iter().filter(|tag| tag.starts_with("dlpack-") && tag != "dlpack-records").collect()
}

/// The manifest under `tag`.
fn manifest(name: &str, tag: &str) -> Value {
    let (_, bytes) = wait(repository(name).own_manifest(tag)).unwrap().expect("a manifest");
    serde_json::from_slice(&bytes).unwrap()
}

/// `record` as one of another key, which nobody uses, written in the year 2000: its tag and its manifest.
fn old(record: &Value, key: &str) -> (String, Value) {
    let hex = key.repeat(64);
    let mut told: Value = serde_json::from_str(record["annotations"]["dev.dlpack.record"].as_str().unwrap()).unwrap();
    told["key"] = json!(format!("sha256:{hex}"));
    let mut record = record.clone();
    record["annotations"]["dev.dlpack.record"] = json!(told.to_string());
    (format!("dlpack-{hex}"), dated(record))
}

fn dated(mut record: Value) -> Value {
    record["annotations"]["org.opencontainers.image.created"] = json!("2000-01-01T00:00:00Z");
    record
}

/// How many records a collection removes and leaves.
fn collect<const N: usize>(dlpack: &Dlpack, name: &str, options: [&str; N]) -> (usize, u64) {
    let collected = dlpack.json(["cache", "gc", name].into_iter().chain(options));
    (collected["removed"].as_array().unwrap().len(), collected["records"].as_u64().unwrap())
}

/// Collects what is old, and then everything, in a repository that has an image and its six records.
fn goes_by_age_and_ceiling(name: &str) {
    let first = home();
    let target = format!("{name}:1");
    let digest = first.ok(["push", &target]);
    let record = manifest(name, &tags(name)[0]);
    for key in ["a", "b"] {
        let (tag, record) = old(&record, key);
        put(name, &tag, &record);
    }
    // What somebody else calls so is no record, however old it is.
    let mut other = dated(record.clone());
    other["artifactType"] = json!("application/vnd.example.notes");
    put(name, &format!("dlpack-{}", "c".repeat(64)), &other);

    assert_eq!(collect(&first, name, []), (0, 8), "nothing was asked for");
    assert_eq!(collect(&first, name, ["--unused-for", "30d", "--dry-run"]), (2, 6));
    assert_eq!(tags(name).len(), 9, "nothing was removed");
    assert_eq!(collect(&first, name, ["--older-than", "30d"]), (2, 6));
    assert_eq!(collect(&first, name, ["--unused-for", "30d"]), (0, 6), "they are gone");
    assert_eq!(tags(name).len(), 7);
    let again = elsewhere(&first).json(["push", &target]);
    assert_eq!((&again["digest"], &again["built"]), (&json!(digest), &json!(0)), "the others are found as before");

    assert_eq!(collect(&first, name, ["--max-size", "1TB"]), (0, 6));
    let all = first.json(["cache", "gc", name, "--max-size", "0"]);
    assert_eq!((all["removed"].as_array().unwrap().len(), &all["kept"]), (6, &json!(0)), "{all}");
    let layers = manifest(name, "1")["layers"].as_array().unwrap().clone();
    let bytes: u64 = layers.iter().map(|layer| layer["size"].as_u64().unwrap()).sum();
    assert_eq!(all["freed"], bytes, "as much as the image has");
    assert_eq!(Dlpack::new().ok(["pull", &target]), digest, "the image is there as before");
    let made = elsewhere(&first).json(["push", &target]);
    assert_eq!((&made["digest"], &made["built"]), (&json!(digest), &json!(6)), "nobody knows its layers now");
    assert_eq!(tags(name).len(), 7, "they are recorded again");
}

#[test]
fn old_records_go_where_the_registry_lists_them() {
    goes_by_age_and_ceiling(&Registry::start().reference("team/env"));
}

#[test]
fn old_records_go_where_tags_alone_lead_to_them() {
    let registry = Registry::with(Features { referrers: false, ..Features::default() });
    goes_by_age_and_ceiling(&registry.reference("team/env"));
}

#[test]
fn old_records_go_from_debians_registry() {
    goes_by_age_and_ceiling(&DebianRegistry::start().reference("team/env"));
}

#[test]
fn a_record_that_a_newer_one_has_replaced_goes_unasked() {
    let registry = Registry::start();
    let name = registry.reference("team/env");
    let first = home();
    first.ok(["push", &format!("{name}:1")]);
    let record = manifest(&name, &tags(&name)[0]);
    put(&name, "somewhere", &dated(record.clone()));
    // Signed, it is another one's word.
    let mut signed = dated(record);
    signed["annotations"]["dev.dlpack.signature"] = json!("c2lnbmVk");
    put(&name, "elsewhere", &signed);
    let said = first.ok(["cache", "gc", &name, "--dry-run"]);
    assert!(said.contains("1 record to be removed, at most 0 B to be freed"), "{said}");
    assert_eq!(collect(&first, &name, []), (1, 7));
    assert!(wait(repository(&name).own_manifest("somewhere")).unwrap().is_none());
}

#[test]
fn one_record_that_cannot_be_removed_keeps_no_other() {
    let registry = Registry::start();
    let name = registry.reference("team/env");
    let first = home();
    first.ok(["push", &format!("{name}:1")]);
    let [one, two] = [0, 1].map(|at| wait(repository(&name).has_manifest(&tags(&name)[at])).unwrap().unwrap().digest);
    let refused = |digest: &Digest, status| {
        Fault::on("DELETE", &format!("/manifests/{digest}"), What::Answer(status, vec![], vec![])).always()
    };
    registry.server.set_faults(vec![refused(&one, 409), refused(&two, 422)]);
    let ran = first.run(["cache", "gc", &name, "--max-size", "0"]);
    assert!(ran.status > 0 && ran.stderr.contains("records can't be removed from"), "{ran:?}");
    for digest in [one, two] {
        assert!(ran.stderr.contains(&format!("record {} stays: ", digest.short())), "{}", ran.stderr);
    }
    assert!(ran.stdout.starts_with("4 records removed, ") && ran.stdout.contains("; 2 kept, of "), "{}", ran.stdout);
    assert_eq!(tags(&name).len(), 2);
    registry.server.set_faults(Vec::new());
    assert_eq!(collect(&first, &name, ["--max-size", "0"]), (2, 0));
}

#[test]
fn what_stands_for_a_list_of_referrers_forgets_records_that_are_gone() {
    let registry = DebianRegistry::start();
    let name = registry.reference("team/env");
    let first = home();
    first.ok(["push", &format!("{name}:1")]);
    let subject = Digest::of(b"what another tool has it refer to");
    let records = tags(&name);
    let (tag, mut record) = old(&manifest(&name, &records[0]), "a");
    record["subject"] =
        json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": subject, "size": 1 });
    let gone = put(&name, &tag, &record);
    let stays = wait(repository(&name).has_manifest(&records[1])).unwrap().unwrap();
    let entry = |digest: &Digest| json!({ "mediaType": stays.media_type, "digest": digest, "size": stays.size });
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "annotations": { "of": "others" },
        "manifests": [entry(&gone), entry(&stays.digest)],
    });
    let tag = format!("sha256-{}", subject.hex());
    put(&name, &tag, &index);
    assert_eq!(collect(&first, &name, ["--unused-for", "30d"]), (1, 6));
    let index = manifest(&name, &tag);
    assert_eq!(index["manifests"].as_array().unwrap().len(), 1, "{index}");
    assert_eq!(
        (&index["manifests"][0]["digest"], &index["annotations"]["of"]),
        (&json!(stays.digest), &json!("others"))
    );
}
