//! `dlpack pull` and `dlpack inspect`: an image comes into the store once, and whole.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::command::Dlpack;
use crate::support::image::{Form, Layout, Packing, Tar};
use crate::support::output;
use crate::support::registry::DebianRegistry;

/// A registry with `team/env:1`, an image of two layers, and `team/both:1`, an index
/// with that for amd64 and another for arm64.
fn registry() -> DebianRegistry {
    let registry = DebianRegistry::start();
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::create(directory.path().join("layout"));
    let file = |name: &str| Tar::new().file(name, name.repeat(10_000));
    let image = layout.image().layer(Packing::Gzip, file("first")).layer(Packing::Zstd, file("second"));
    let amd64 = image.tagged("env");
    let arm64 = layout.image_for("arm64").layer(Packing::Gzip, file("arm64")).finish();
    layout.index("both", &[(amd64, "amd64"), (arm64, "arm64")]);
    layout.push("env", &registry, "team/env:1", Form::Oci);
    layout.push("both", &registry, "team/both:1", Form::Oci);
    registry.forget_requests();
    registry
}

#[test]
fn what_is_here_is_not_fetched_again() {
    let (registry, dlpack) = (registry(), Dlpack::new());
    let name = registry.reference("team/env:1");
    let pulled = dlpack.json(["pull", &name]);
    assert_eq!(pulled["fetched"], 2);
    assert_eq!(registry.blob_reads().len(), 3, "two layers and the config");
    registry.forget_requests();
    let again = dlpack.run(["pull", &name]);
    assert_eq!(again.stdout, format!("{}\n", pulled["digest"].as_str().unwrap()));
    assert_eq!(registry.blob_reads(), []);

    fs::remove_file(dlpack.blob(&dlpack.layers_of(pulled["digest"].as_str().unwrap())[1])).unwrap();
    assert_eq!(dlpack.json(["pull", &name])["fetched"], 1);
    assert_eq!(registry.blob_reads().len(), 1);
    let image = format!("oci:{}:{name}", dlpack.store().display());
    let seen: Value =
        serde_json::from_slice(&output(Command::new("skopeo").args(["inspect", &image]), "skopeo").stdout).unwrap();
    assert_eq!(seen["Digest"], pulled["digest"]);
}

#[test]
fn of_an_index_the_platforms_image_comes() {
    let (registry, dlpack) = (registry(), Dlpack::new());
    let name = registry.reference("team/both:1");
    let architecture = |digest: &str| dlpack.config_of(digest)["architecture"].clone();
    assert_eq!(architecture(&dlpack.ok(["pull", "--platform", "linux/arm64", &name])), "arm64");
    assert_eq!(architecture(&dlpack.ok(["pull", "--platform", "linux/amd64", &name])), "amd64");
    let refused = dlpack.refuses(3, ["pull", "--platform", "linux/riscv64", &name]);
    assert!(refused.contains("it has linux/amd64, linux/arm64\nhint: "), "{refused}");
}

#[test]
fn a_blob_that_is_damaged_in_the_registry_is_refused_by_its_name() {
    let (registry, dlpack) = (registry(), Dlpack::new());
    let name = registry.reference("team/env:1");
    let honest = dlpack.ok(["pull", &name]);
    let layer = dlpack.layers_of(&honest)[0].clone();
    fs::remove_dir_all(dlpack.store()).unwrap();
    let file = registry.blob_file(&layer);
    let bytes = fs::read(&file).unwrap();
    let mut damaged = bytes.clone();
    damaged[20] ^= 1;
    fs::write(&file, damaged).unwrap();
    let refused = dlpack.refuses(6, ["pull", &name]);
    assert!(refused.contains(&layer), "{refused}");
    assert!(!dlpack.blob(&layer).exists() && !dlpack.blob(&honest).exists(), "it has no name in the store");
    fs::write(&file, bytes).unwrap();
    assert_eq!(dlpack.ok(["pull", &name]), honest);
    assert_eq!(dlpack.leftovers(), 0);

    // what is damaged here `inspect` can't make anew, and its hint says who can
    let manifest = dlpack.blob(&honest);
    let mut damaged = fs::read(&manifest).unwrap();
    damaged[20] ^= 1;
    fs::write(&manifest, damaged).unwrap();
    let refused = dlpack.refuses(6, ["inspect", &name]);
    assert!(refused.contains("was damaged") && refused.contains("build or pull the image again"), "{refused}");
    let refused = dlpack.fails(["inspect", &name]);
    assert!(refused.contains("is gone from the store\nhint: build the image again, or pull it"), "{refused}");
}

#[test]
fn a_pull_and_a_push_that_are_killed_are_finished_by_the_next() {
    let (registry, dlpack) = (DebianRegistry::start(), Dlpack::new());
    let layout = Layout::create(dlpack.work().join("base"));
    let mut random = fastrand::Rng::with_seed(1);
    let mut noise = || std::iter::repeat_with(|| random.u8(..)).take(3 << 20).collect::<Vec<_>>();
    let tars: Vec<_> = (0..4).map(|layer| Tar::new().file(&format!("layer-{layer}"), noise())).collect();
    let image = tars.into_iter().fold(layout.image(), |image, tar| image.layer(Packing::Gzip, tar));
    let honest = image.tagged("base")["digest"].as_str().unwrap().to_owned();
    layout.push("base", &registry, "team/base:1", Form::Oci);
    dlpack.write("dlpack.toml", "base = { layout = \"base\", tag = \"base\" }\n");
    dlpack.ok(["lock"]);
    let (from, to) = (registry.reference("team/base:1"), registry.reference("team/copy:1"));
    for arguments in [["pull", &from], ["push", &to]] {
        for told in 1..=4 {
            let mut killed =
                dlpack.command(arguments).arg("-v").stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
            // each line tells of a blob that is begun or done
            let lines = BufReader::new(killed.stderr.take().unwrap()).lines().take(told).count();
            killed.kill().unwrap();
            killed.wait().unwrap();
            assert!(lines <= told);
        }
        dlpack.ok(arguments);
        dlpack.ok(["cache", "verify"]);
        assert_eq!(dlpack.leftovers(), 0);
    }
    assert_eq!(dlpack.ok(["pull", &from]), honest);
    let other = Dlpack::new();
    let digest = other.ok(["pull", &to]);
    assert_eq!(other.layers_of(&digest), dlpack.layers_of(&honest));
}

#[test]
fn an_image_is_inspected_alike_in_its_registry_and_in_the_store() {
    let (registry, dlpack) = (DebianRegistry::start(), Dlpack::new());
    dlpack.write_recipe("\"scratch\"");
    let name = registry.reference("team/env:1");
    let digest = dlpack.ok(["push", &name]);
    let here = dlpack.json(["inspect", &name]);
    assert_eq!(here["digest"], digest);
    let sizes: Vec<u64> =
        here["layers"].as_array().unwrap().iter().map(|layer| layer["size"].as_u64().unwrap()).collect();
    assert!(sizes.is_sorted_by(|a, b| a >= b), "biggest first: {sizes:?}");
    let first = &here["layers"][0];
    assert_eq!((&first["layer"], &first["contents"][0]["name"]), (&json!("venv"), &json!("tqdm 4.66.5")));

    fs::remove_dir_all(dlpack.store()).unwrap();
    registry.forget_requests();
    assert_eq!(dlpack.json(["inspect", &name]), here);
    assert_eq!(registry.blob_reads().len(), 1, "the config and no layer");
    let by_digest = registry.reference(&format!("team/env@{digest}"));
    assert_eq!(dlpack.json(["inspect", &by_digest]), here);
}
