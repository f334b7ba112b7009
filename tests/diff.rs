//! `dlpack diff`: what differs between two images, in the store and in registries.

use serde_json::{Value, json};

use crate::support::command::Dlpack;
use crate::support::embedded::Embedded;
use crate::support::image::{Form, Layout, Packing, Tar};
use crate::support::registry::DebianRegistry;

/// A home with an environment at `env:1` of a registry, and another one at `env:2`.
fn two() -> (Embedded, Dlpack, [String; 2]) {
    let (registry, dlpack) = (Embedded::start(), Dlpack::new());
    let targets = ["1", "2"].map(|tag| registry.reference(&format!("team/env:{tag}")));
    dlpack.write_recipe("\"scratch\"");
    dlpack.ok(["push", &targets[0]]);
    for (from, to) in [
        ("six==1.16.0", "six==1.15.0"),
        ("\"tqdm==4.66.5\"", "\"packaging==24.1\""),
        ("GREETING = \"${greeting}\"", "GREETING = \"good evening\", FAREWELL = \"good night\""),
        (
            "Welcome.\\n\", to = \"/etc/motd\" }",
            "Good evening.\\n\", to = \"/etc/motd\" }, { content = \"x\", to = \"/etc/new\" }",
        ),
    ] {
        dlpack.edit("dlpack.toml", from, to);
    }
    dlpack.ok(["push", "--update", &targets[1]]);
    (registry, dlpack, targets)
}

#[test]
fn two_images_differ_by_layer_wheel_config_and_file() {
    let (_registry, dlpack, [one, other]) = two();
    let difference = dlpack.json(["diff", &one, &other, "--files"]);
    assert_eq!((&difference["common"], &difference["reordered"]), (&json!(3), &json!(false)), "{difference}");
    let layers = |which: &str| {
        let layers = difference[which].as_array().expect("layers").iter();
        layers.map(|layer| layer["what"].as_str().expect("a text").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(layers("removed"), ["/etc/motd", "six 1.16.0", "tqdm 4.66.5"]);
    let mut added = layers("added");
    added.sort();
    assert_eq!(added, ["/etc/motd and 1 more", "packaging 24.1", "six 1.15.0"]);
    let wheels = json!({
        "packaging": { "to": "24.1" }, "six": { "from": "1.16.0", "to": "1.15.0" }, "tqdm": { "from": "4.66.5" },
    });
    assert_eq!(difference["wheels"], wheels);
    let config = json!({
        "env.FAREWELL": { "to": "good night" }, "env.GREETING": { "from": "hello", "to": "good evening" },
    });
    assert_eq!(difference["config"], config);
    let change = |path: &str| difference["files"][path]["change"].as_str().unwrap_or("none").to_owned();
    assert_eq!(change("etc/motd"), "content");
    assert_eq!(change("etc/new"), "added");
    let site = "opt/venv/lib/python3.11/site-packages";
    assert_eq!(change(&format!("{site}/six.py")), "content");
    assert_eq!(change(&format!("{site}/six-1.16.0.dist-info/METADATA")), "removed");
    assert_eq!(change(&format!("{site}/packaging/__init__.py")), "added");
    assert_eq!(change("etc/localtime"), "none", "its layer is the same");

    let text = dlpack.ok(["diff", &one, &other, "--files"]);
    for line in [
        "layers (3 in common)",
        "~  six        1.16.0 → 1.15.0",
        "-  tqdm       4.66.5",
        "+  packaging  24.1",
        "~  env.GREETING  hello → good evening",
        "~  /etc/motd",
        "+  /etc/new",
    ] {
        assert!(text.lines().any(|found| found.trim_end() == line), "no `{line}` in {text}");
    }
    assert_eq!(dlpack.ok(["diff", &one, &one]), "no difference: 6 layers in common");
}

#[test]
fn an_image_of_another_machine_is_fetched_as_far_as_it_differs() {
    let (registry, dlpack, [one, other]) = two();
    let here = dlpack.json(["diff", &one, &other, "--files"]);
    let elsewhere = Dlpack::new();
    registry.server.clear_requests();
    assert_eq!(elsewhere.json(["diff", &one, &other])["wheels"], here["wheels"]);
    let fetched = registry.requests("GET", "/blobs/").len();
    assert_eq!(fetched, 2, "the configs alone");
    assert_eq!(elsewhere.json(["diff", &one, &other, "--files"])["files"], here["files"]);
    assert_eq!(registry.requests("GET", "/blobs/").len() - fetched, 2 + 6, "the configs, and the layers that differ");
}

#[test]
fn images_that_dlpack_did_not_make_and_whiteouts_are_compared_too() {
    let registry = DebianRegistry::start();
    let dlpack = Dlpack::new();
    let layout = Layout::create(dlpack.work().join("images"));
    let base = || Tar::new().directory("etc").file("etc/a", "a").file("etc/b", "b").symlink("etc/l", "a");
    let image = || layout.image().layer(Packing::Gzip, base());
    image().layer(Packing::Gzip, Tar::new().file("etc/a", "A").hard_link("etc/h", "etc/a")).tagged("one");
    let second = Tar::new().file("etc/.wh.b", "").owned_file("etc/a", 0o600, (0, 0), "A").symlink("etc/l", "b");
    image().layer(Packing::Gzip, second).tagged("other");
    layout.push("one", &registry, "images:one", Form::Oci);
    layout.push("other", &registry, "images:other", Form::Docker);
    let difference =
        dlpack.json(["diff", &registry.reference("images:one"), &registry.reference("images:other"), "--files"]);
    assert_eq!(difference["common"], 1, "{difference}");
    let files: Vec<(&String, &Value)> = difference["files"].as_object().expect("files").iter().collect();
    let expected = json!({
        "etc/a": { "change": "attributes" }, "etc/b": { "change": "removed" }, "etc/h": { "change": "removed" },
        "etc/l": { "change": "added" },
    });
    assert_eq!(json!(difference["files"]), expected, "{files:?}");
}

#[test]
fn a_config_that_says_nothing_of_a_layer_is_refused() {
    let registry = DebianRegistry::start();
    let dlpack = Dlpack::new();
    let layout = Layout::create(dlpack.work().join("images"));
    let file = |content: &str| Tar::new().file("a", content);
    layout.image().layer(Packing::Gzip, file("one")).tagged("one");
    layout.image().layer(Packing::Gzip, file("other")).with_layers(|_, diff_ids| diff_ids.clear()).tagged("other");
    for name in ["one", "other"] {
        layout.push(name, &registry, &format!("images:{name}"), Form::Oci);
    }
    let said =
        dlpack.refuses(6, ["diff", "--files", &registry.reference("images:one"), &registry.reference("images:other")]);
    // As every error has a snapshot:
    let expected = "\
error: the image's config says nothing of layer sha256:";
    assert!(said.contains(expected), "{said}");
}
