//! `dlpack plan --why`: which input made a layer new against the image that the tag holds now, and
//! how long a push will take.

use std::process::Command;

use dlpack::oci::{Descriptor, media_type};
use dlpack::registry::{Reference, Registries, Settings};
use dlpack::store::Store;
use serde_json::{Value, json};

use crate::support::command::Dlpack;
use crate::support::embedded::Embedded;
use crate::support::image::{Layout, Packing, Tar};
use crate::support::{output, tiny};

/// The causes for the layer of the plan that is called `layer`, all that has causes; how a person
/// reads them stands in the text.
fn causes(why: &Value, layer: &str) -> Vec<Value> {
    let layers = why["layers"].as_array().expect("layers").iter().zip(why["why"]["layers"].as_array().expect("why"));
    let of_layer = layers.filter(|(planned, _)| planned["layer"] == layer);
    of_layer.flat_map(|(_, causes)| causes.as_array().expect("causes").clone()).collect()
}

/// How many layers are new.
fn new(why: &Value) -> usize {
    why["why"]["layers"].as_array().expect("why").iter().filter(|causes| **causes != json!([])).count()
}

/// A home whose small environment lies at `env:1` of a registry.
fn pushed() -> (Embedded, Dlpack, String) {
    let (registry, dlpack) = (Embedded::start(), Dlpack::new());
    dlpack.write_recipe("\"scratch\"");
    let target = registry.reference("team/env:1");
    dlpack.ok(["push", &target]);
    (registry, dlpack, target)
}

#[test]
fn a_new_layer_is_put_down_to_the_wheel_the_file_or_the_line_that_changed() {
    let (_registry, dlpack, target) = pushed();
    let unchanged = dlpack.json(["plan", &target, "--why"]);
    assert_eq!((new(&unchanged), &unchanged["why"]["send"]["bytes"]), (0, &json!(0)), "{unchanged}");

    dlpack.edit("dlpack.toml", "six==1.16.0", "six==1.15.0");
    dlpack.edit("dlpack.toml", "Asia/Seoul", "Europe/Berlin");
    dlpack.edit("dlpack.toml", "Welcome.", "Good evening.");
    let why = dlpack.json(["plan", "--update", &target, "--why"]);
    assert_eq!(new(&why), 3, "{why}");
    let six = json!([{ "cause": "part", "field": "wheels", "name": "six", "change": "version", "from": "1.16.0",
        "to": "1.15.0", "at": "dlpack.toml:21" }]);
    assert_eq!(json!(causes(&why, "venv")), six);
    let motd = json!([{ "cause": "part", "field": "files", "name": "/etc/motd", "change": "content", "at": "dlpack.toml:11" }]);
    assert_eq!(json!(causes(&why, "files")), motd);
    let zone = json!([{ "cause": "field", "name": "zone", "from": "Asia/Seoul", "to": "Europe/Berlin", "at": "dlpack.toml:15" }]);
    assert_eq!(json!(causes(&why, "timezone")), zone);

    let text = dlpack.ok(["plan", &target, "--why"]);
    for line in ["six 1.16.0 → 1.15.0", "zone Asia/Seoul → Europe/Berlin", "/etc/motd changed"] {
        assert!(text.contains(line), "{text}");
    }
    assert!(text.contains("3 of 6 layers new; the push will send about "), "{text}");
}

#[test]
fn a_wheel_that_comes_or_goes_and_a_default_that_is_overruled_are_named() {
    let (_registry, dlpack, target) = pushed();
    dlpack.edit("dlpack.toml", "\"tqdm==4.66.5\"", "\"packaging==24.1\"");
    dlpack.edit("dlpack.toml", "user = \"dev\"", "user = \"dev\"\nshell = \"/bin/sh\"");
    dlpack.edit("dlpack.toml", "[vars]", "compression = \"zstd\"\n\n[vars]");
    dlpack.ok(["lock"]);
    let text = dlpack.ok(["plan", &target, "--why"]);
    for line in
        ["packaging 24.1 is added", "tqdm 4.66.5 is removed", "shell /bin/bash → /bin/sh", "compression gzip → zstd"]
    {
        assert!(text.contains(line), "no `{line}` in {text}");
    }
    for place in ["dlpack.toml:3", "dlpack.toml:23", "dlpack.toml:28"] {
        assert!(text.contains(place), "no `{place}` in {text}");
    }
}

#[test]
fn the_layers_of_a_base_that_dlpack_made_are_the_bases() {
    let (registry, base, target) = pushed();
    let dlpack = Dlpack::new();
    let recipe = |text: &str| {
        let layer = format!("[[layer]]\nkind = \"files\"\nfiles = [{{ content = \"{text}\", to = \"/etc/motd\" }}]\n");
        dlpack.write("dlpack.toml", &format!("base = {target:?}\n{layer}"));
    };
    recipe("ours");
    let ours = registry.reference("team/ours:1");
    dlpack.ok(["push", &ours]);
    let unchanged = dlpack.json(["plan", &ours, "--why"]);
    assert_eq!((new(&unchanged), &unchanged["why"]["base"]), (0, &Value::Null), "{unchanged}");
    let text = dlpack.ok(["plan", &ours, "--why"]);
    assert!(!text.contains("removed") && !text.contains("gone") && !text.contains('→'), "{text}");

    base.edit("dlpack.toml", "six==1.16.0", "six==1.15.0");
    base.ok(["push", "--update", &target]);
    let why = dlpack.json(["plan", "--update", &ours, "--why"]);
    assert_eq!(new(&why), 0, "{why}");
    assert_eq!(why["why"]["base"]["cause"], "base", "{why}");
}

#[test]
fn a_sandboxed_layer_says_what_under_it_changed_and_no_environment_is_told() {
    let registry = Embedded::start();
    let dlpack = Dlpack::unprivileged();
    tiny::layout(&dlpack.work());
    let step = |name: &str, command: &str, keys: &str| {
        format!("[[layer]]\nkind = \"run\"\nname = \"{name}\"\ncommand = \"{command}\"\n{keys}\n")
    };
    let recipe = |first: &str, colour: &str| {
        let env = format!("env = {{ COLOUR = \"{colour}\" }}");
        let text = format!("{}{}{}", tiny::BASE, step("one", first, ""), step("two", "echo > /two", &env));
        dlpack.write("dlpack.toml", &text);
    };
    recipe("echo 1 > /one", "aubergine");
    let target = registry.reference("steps:1");
    let digest = dlpack.ok(["push", &target]);
    let manifest = String::from_utf8(registry.manifest(&digest)).expect("JSON");
    assert!(manifest.contains("dev.dlpack.inputs") && manifest.contains("COLOUR"), "{manifest}");
    assert!(!manifest.contains("aubergine"), "{manifest}");

    recipe("echo 1 > /one", "ochre");
    let why = dlpack.json(["plan", "--update", &target, "--why"]);
    assert_eq!(causes(&why, "one"), Vec::<Value>::new());
    assert_eq!(causes(&why, "two")[0]["name"], "COLOUR");

    recipe("echo 2 > /one", "aubergine");
    let text = dlpack.ok(["plan", "--update", &target, "--why"]);
    assert!(text.contains("command echo 1 > /one → echo 2 > /one"), "{text}");
    assert!(text.contains("it is written over `one`, which changed"), "{text}");

    // A machine that knows nothing but the recipe says the same.
    std::fs::remove_dir_all(dlpack.store().join("keys")).expect("removed");
    recipe("echo 1 > /one", "aubergine");
    let known = dlpack.json(["plan", "--update", &target, "--why"]);
    assert_eq!(new(&known), 0, "{known}");
}

#[test]
fn another_base_is_named_with_the_line_that_names_it() {
    let (registry, dlpack) = (Embedded::start(), Dlpack::new());
    let layout = Layout::create(dlpack.work().join("bases"));
    for name in ["old", "new"] {
        layout.image().layer(Packing::Gzip, Tar::new().file(name, name)).tagged(name);
    }
    dlpack.write_recipe("{ layout = \"bases\", tag = \"old\" }");
    // An account amends the base's own files: there are none here.
    dlpack.edit("dlpack.toml", "[[layer]]\nkind = \"account\"\nuser = \"dev\"\nvenv = \"/opt/venv\"\n", "");
    let target = registry.reference("env:1");
    dlpack.ok(["push", &target]);
    dlpack.edit("dlpack.toml", "\"old\"", "\"new\"");
    let why = dlpack.json(["plan", "--update", &target, "--why"]);
    assert_eq!((new(&why), &why["why"]["base"]["cause"]), (0, &json!("base")), "{why}");
    assert_eq!(why["why"]["base"]["at"], "dlpack.toml:1");
    assert!(why["why"]["send"]["bytes"].as_u64().is_some_and(|bytes| bytes > 0), "the new base's layer: {why}");
}

#[test]
fn an_image_that_does_not_tell_is_said_not_to() {
    let (registry, dlpack, target) = pushed();
    let nothing = dlpack.ok(["plan", &registry.reference("team/env:2"), "--why"]);
    assert!(nothing.contains("team/env:2 has no image yet: everything is new to it"), "{nothing}");

    let layout = Layout::create(dlpack.work().join("other"));
    layout.image().layer(Packing::Gzip, Tar::new().file("a", "b")).tagged("other");
    let foreign = registry.reference("other:1");
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["copy", "--dest-tls-verify=false"]).arg(format!("oci:{}:other", layout.path().display()));
    output(skopeo.arg(format!("docker://{foreign}")), "skopeo");
    let other = dlpack.ok(["plan", &foreign, "--why"]);
    assert!(other.contains("dlpack did not make it"), "{other}");

    // As an older dlpack wrote it: with the layers' names alone.
    let reference: Reference = target.parse().expect("a reference");
    let registries = Registries::new(Settings::default()).expect("registries");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let repository = registries.repository(&reference).expect("a repository");
        let (_, bytes) = repository.manifest("1").await.expect("a manifest");
        let mut manifest: Value = serde_json::from_slice(&bytes).expect("JSON");
        for layer in manifest["layers"].as_array_mut().expect("layers") {
            let annotations = layer["annotations"].as_object_mut().expect("annotations");
            annotations.retain(|name, _| name == "dev.dlpack.layer");
        }
        let bytes = manifest.to_string().into_bytes();
        assert_ne!(Descriptor::of(media_type::MANIFEST, &bytes).size, 0);
        repository.push_manifest("1", media_type::MANIFEST, &bytes).await.expect("pushed");
    });
    dlpack.edit("dlpack.toml", "Asia/Seoul", "Europe/Berlin");
    let older = dlpack.json(["plan", "--update", &target, "--why"]);
    assert_eq!((&older["why"]["image"]["tells"], new(&older)), (&json!("layers"), 1), "by their bytes: {older}");
    let text = dlpack.ok(["plan", &target, "--why"]);
    assert!(text.contains("an older dlpack made it"), "{text}");
}

#[test]
fn the_time_that_a_push_will_take_is_told_at_the_rate_of_the_last_one() {
    let (registry, dlpack) = (Embedded::start(), Dlpack::new());
    let noise = |seed: u64| {
        let mut random = fastrand::Rng::with_seed(seed);
        std::iter::repeat_with(|| random.u8(..)).take(3_000_000).collect::<Vec<u8>>()
    };
    let write = |seed| std::fs::write(dlpack.work().join("noise"), noise(seed)).expect("written");
    write(1);
    dlpack.write(
        "dlpack.toml",
        "base = \"scratch\"\n[[layer]]\nkind = \"files\"\nfiles = [{ from = \"noise\", to = \"/noise\" }]\n",
    );
    let target = registry.reference("noise:1");
    let unmeasured = dlpack.ok(["plan", &target, "--why"]);
    assert!(unmeasured.contains("the push will send about 3.0 MB; how fast"), "{unmeasured}");
    dlpack.ok(["push", "--limit-rate", "1G", &target]);
    let store = Store::open(&dlpack.store()).expect("a store");
    let unmeasured = store.rate(&registry.address()).expect("readable");
    assert!(unmeasured.is_none(), "what a limit let through says nothing about the line: {unmeasured:?}");
    write(2);
    dlpack.ok(["push", "--update", &target]);
    write(3);
    let measured = dlpack.json(["plan", "--update", &target, "--why"]);
    assert!(measured["why"]["send"]["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{measured}");

    let rate = store.rate(&registry.address()).expect("readable").expect("measured");
    assert!(rate.bytes > 3_000_000, "{rate:?}");
    store.put_rate(&registry.address(), 5_000_000, std::time::Duration::from_secs(500)).expect("written");
    store.put_rate(&registry.address(), 10, std::time::Duration::from_secs(500)).expect("written");
    let slow = dlpack.ok(["plan", &target, "--why"]);
    assert!(slow.contains("about 3.0 MB, in 5 min 0 s at the 10 kB/s of the last push there"), "{slow}");
}
