//! A layer that is longer than a registry takes is in parts, and nobody who uses the image
//! sees a difference.

use std::fs;

use serde_json::{Value, json};

use crate::steps::{layer, world};
use crate::support::command::Dlpack;
use crate::support::embedded::Embedded;
use crate::support::image::{Layout, Packing, Tar};
use crate::support::noise;
use crate::support::registry::DebianRegistry;
use crate::support::runtime::{Podman, Runc, Runtime};
use crate::support::wheel::{Entry, made};

/// How long a layer may be, in a recipe and in bytes.
const CEILING: (&str, u64) = ("max-layer-size = \"1MB\"\n", 1_000_000);

/// Writes what a layer below has taken away, hidden, and linked, among more than one part's worth.
const SCRIPT: &str = "\
    mkdir -m 710 /data
    for n in $(seq 10 29); do seq \"$n\"0000 $((n + 4))0000 > /data/$n; done
    chmod 640 /data/10
    ln /data/10 /data/link
    ln /data/29 /data/near
    rm -r /gone /old /zz
    mkdir -m 750 /old
    for n in $(seq 30 39); do seq \"$n\"0000 $((n + 4))0000 > /old/$n; done
    chown 50:50 /old/39";

fn layers() -> String {
    let below = "mkdir /gone /old && for n in 1 2 3; do echo $n > /gone/$n; echo $n > /old/$n; done && echo z > /zz";
    layer(below, "name = \"below\"") + &layer(SCRIPT, "name = \"above\"")
}

/// A home with the recipe, which begins with `keys`.
fn home(keys: &str) -> Dlpack {
    let dlpack = world(&layers());
    let recipe = fs::read_to_string(dlpack.work().join("dlpack.toml")).expect("readable");
    dlpack.write("dlpack.toml", &format!("{keys}{recipe}"));
    dlpack.ok(["lock"]);
    dlpack
}

/// What somebody sees in a container of the image.
fn seen(runtime: &dyn Runtime) -> String {
    let list = "cd / && ls -d data gone old zz 2>/dev/null; \
        for path in data old data/* old/*; do stat -c '%n %a %u %g %s' $path; done; \
        busybox sha256sum data/* old/*";
    let listed = runtime.run("0:0", &[], &["/bin/busybox", "sh", "-c", list]);
    String::from_utf8(listed.stdout).expect("UTF-8")
}

/// The descriptors of the layers of the recipe's layer `name` in the image `digest`.
fn parts(dlpack: &Dlpack, digest: &str, name: &str) -> Vec<Value> {
    let manifest = dlpack.stored(digest);
    let layers = manifest["layers"].as_array().expect("layers");
    layers.iter().filter(|layer| layer["annotations"]["dev.dlpack.layer"] == name).cloned().collect()
}

#[test]
fn an_image_with_a_layer_in_parts_is_that_with_the_whole_one() {
    let registry = DebianRegistry::start();
    let (split, whole) = (home(CEILING.0), home(""));
    let targets = [registry.reference("team/split:1"), registry.reference("team/whole:1")];
    let pushed = split.json(["push", &targets[0]]);
    let digest = pushed["digest"].as_str().expect("a digest");
    whole.ok(["push", &targets[1]]);

    let cut = parts(&split, digest, "above");
    assert!(cut.len() > 2, "{cut:#?}");
    assert!(cut.iter().all(|part| part["size"].as_u64().is_some_and(|size| size <= CEILING.1)), "{cut:#?}");
    let numbers: Vec<&Value> = cut[1..].iter().map(|part| &part["annotations"]["dev.dlpack.part"]).collect();
    assert_eq!(numbers[..2], [&json!("2"), &json!("3")]);
    let config = split.config_of(digest);
    let history = config["history"].as_array().expect("a history");
    let count = split.layers_of(digest).len();
    assert_eq!((config["rootfs"]["diff_ids"].as_array().map(Vec::len), history.len()), (Some(count), count));
    assert!(
        history[count - 1]["created_by"].as_str().is_some_and(|by| by.ends_with(&format!("({0} of {0})", cut.len())))
    );

    let seen_in = targets.each_ref().map(|target| {
        let other = Dlpack::new();
        other.ok(["pull", target]);
        let [podman, runc] = [seen(&Podman::pull(target)), seen(&Runc::unpack(&other.store(), target))];
        assert_eq!(podman, runc);
        podman
    });
    assert_eq!(seen_in[0], seen_in[1]);
    assert!(seen_in[0].starts_with("data\nold\ndata 710 0 0 "), "{}", seen_in[0]);
    assert!(seen_in[0].contains("data/link 640 0 0 ") && seen_in[0].contains("old/39 644 50 50 "), "{}", seen_in[0]);
    assert!(!seen_in[0].contains("old/1 "), "{}", seen_in[0]);
}

#[test]
fn a_layer_in_parts_is_known_by_its_key_here_and_elsewhere() {
    let registry = DebianRegistry::start();
    let (first, target) = (home(CEILING.0), registry.reference("team/env:1"));
    let pushed = first.json(["push", &target]);
    let blobs = &pushed["uploaded"];
    let again = first.json(["push", &target]);
    assert_eq!((&again["digest"], &again["built"], &again["uploaded"]), (&pushed["digest"], &json!(0), &json!(0)));
    let plan = first.ok(["plan", &target, "--why"]);
    assert!(plan.contains("0 layers to build") && plan.contains("in the store and the target"), "{plan}");

    // an empty disk, the cache, and a layer over what is in parts
    let second = world("");
    for file in ["dlpack.toml", "dlpack.lock"] {
        fs::copy(first.work().join(file), second.work().join(file)).expect("copied");
    }
    let found = second.json(["push", &target]);
    assert_eq!((&found["digest"], &found["built"], &found["uploaded"]), (&pushed["digest"], &json!(0), &json!(0)));
    assert_eq!(&found["present"], blobs);
    let recipe = fs::read_to_string(second.work().join("dlpack.toml")).expect("readable");
    let over = layer("test -e /data/29 && test ! -e /old/1 && cat /data/link /data/10 > /both", "name = \"over\"");
    second.write("dlpack.toml", &format!("{recipe}{over}"));
    let more = second.json(["push", "--update", &target]);
    assert_eq!(
        (&more["built"], parts(&second, more["digest"].as_str().expect("a digest"), "over").len()),
        (&json!(1), 1)
    );
    assert_eq!(first.ok(["build", "--no-cache"]), pushed["digest"].as_str().expect("a digest"));

    // made anew, on one thread
    fs::remove_dir_all(first.store().join("keys")).expect("removed");
    let made = first.json(["build", "--no-cache", "--jobs", "1"]);
    assert_eq!((&made["digest"], &made["built"]), (&pushed["digest"], &json!(2)));
}

#[test]
fn a_wheel_that_turns_out_longer_than_a_layer_goes_through_the_store() {
    let registry = Embedded::start();
    let (dlpack, other) = (Dlpack::new(), Dlpack::new());
    let text = "a line of many\n".repeat(100_000);
    let module = |name: &str, content: &[u8]| Entry::new(&format!("made/{name}.py"), content);
    let wheel = made(vec![
        module("a", &noise(3_500_000)),
        module("b", text.as_bytes()),
        module("c", text.as_bytes()),
        module("d", text.as_bytes()),
    ]);
    let recipe = "base = \"scratch\"\ncompression = \"zstd\"\nmax-layer-size = \"4MB\"\n[[layer]]\nkind = \"venv\"\n\
        python = \"3.11\"\ninterpreter = \"/usr/bin/python3.11\"\nwheels = [\"made-1.0-py3-none-any.whl\"]\n";
    for home in [&dlpack, &other] {
        fs::write(home.work().join("made-1.0-py3-none-any.whl"), wheel.bytes()).expect("written");
        home.write("dlpack.toml", recipe);
        home.ok(["lock"]);
    }
    let pushed = dlpack.json(["push", &registry.reference("team/env:1")]);
    let digest = pushed["digest"].as_str().expect("a digest");
    assert_eq!(digest, other.ok(["build"]));
    assert!(!registry.requests("PATCH", "").is_empty(), "its wheel is short: it was begun as a stream");
    let sizes = parts(&dlpack, digest, "venv");
    assert!(sizes.len() > 3 && sizes.iter().all(|part| part["size"].as_u64() < Some(4_000_000)), "{sizes:#?}");
}

#[test]
fn an_image_of_too_many_parts_is_refused_before_they_are_sent() {
    let (registry, dlpack) = (Embedded::start(), Dlpack::new());
    let layout = Layout::create(dlpack.work().join("base"));
    let tar = |n: usize| Tar::new().file(&format!("{n}"), "");
    (0..122).fold(layout.image(), |image, n| image.layer(Packing::Gzip, tar(n))).tagged("many");
    fs::create_dir(dlpack.work().join("noise")).expect("created");
    for part in 0..4 {
        fs::write(dlpack.work().join(format!("noise/{part}")), noise(900_000)).expect("written");
    }
    let layer = "[[layer]]\nkind = \"files\"\nfiles = [{ from = \"noise\", to = \"/noise\" }]\n";
    dlpack.write("dlpack.toml", &format!("{}base = {{ layout = \"base\" }}\n{layer}", CEILING.0));
    let ran = dlpack.run(["push", &registry.reference("team/env:1")]);
    assert!(ran.status > 0 && ran.stderr.contains("would have 126 layers, of which 122 are the base's"), "{ran:?}");
    assert!(registry.received() < 500_000, "no part of it is sent: {}", registry.received());

    fs::remove_file(dlpack.work().join("noise/3")).expect("removed");
    dlpack.ok(["lock"]);
    for built in [1, 0] {
        assert_eq!(dlpack.json(["push", &registry.reference("team/env:1")])["built"], built);
    }
}

#[test]
fn files_are_cut_and_one_that_is_too_long_is_warned_of() {
    let registry = DebianRegistry::start();
    let dlpack = Dlpack::new();
    fs::create_dir(dlpack.work().join("noise")).expect("created");
    for (name, length) in [("a", 400_000), ("b", 400_000), ("c", 400_000), ("long", 1_200_000)] {
        let mut bytes = vec![0; length];
        fastrand::Rng::with_seed(length as u64).fill(&mut bytes);
        fs::write(dlpack.work().join("noise").join(name), bytes).expect("written");
    }
    let recipe = "base = \"scratch\"\n[[layer]]\nkind = \"files\"\nfiles = [{ from = \"noise\", to = \"/noise\" }]\n";
    dlpack.write("dlpack.toml", &format!("{}{recipe}", CEILING.0));
    let ran = dlpack.run(["push", &registry.reference("team/files:1")]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let warning = "warning: a single file makes a layer of /noise/a and 3 more 12";
    assert_eq!(ran.stderr.matches(warning).count(), 1, "{}", ran.stderr);
    let sizes: Vec<u64> =
        parts(&dlpack, ran.stdout.trim(), "files").iter().filter_map(|part| part["size"].as_u64()).collect();
    let long: Vec<bool> = sizes.iter().map(|size| *size > CEILING.1).collect();
    assert_eq!(long, [false, false, true], "{sizes:?}");
    let again = dlpack.json(["push", &registry.reference("team/files:1")]);
    assert_eq!((&again["built"], &again["uploaded"]), (&json!(0), &json!(0)));

    dlpack.edit("dlpack.toml", "1MB", "10KB");
    let refused = dlpack.refuses(3, ["lock"]);
    assert!(refused.contains("`max-layer-size` can't be `10KB`: a layer's size is \"1MB\" or more"), "{refused}");
}
