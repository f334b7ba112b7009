//! `dlpack rebase`: layers on another base as they are, or a reason why not.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::command::Dlpack;
use crate::support::embedded::Embedded;
use crate::support::image::{Image, Layout, Packing, Tar, debian_with_apt};
use crate::support::shown::Shown;
use crate::support::signed_archive::Archive;
use crate::support::{output, tiny};

/// What a Debian with Python 3.11 has of what a rebase looks at.
fn debian(passwd: &str) -> Tar {
    Tar::new()
        .file("etc/passwd", format!("root:x:0:0:root:/root:/bin/sh\n{passwd}"))
        .file("etc/group", "root:x:0:\n")
        .file("lib/x86_64-linux-gnu/libc.so.6", "2.36")
        .file("usr/bin/python3.11", "python")
        .file("usr/lib/python3.11/os.py", "os")
}

/// Bases on a registry, and homes of which one image lies there.
struct World {
    registry: Embedded,
    dlpack: Dlpack,
    bases: Layout,
}

impl World {
    fn new() -> Self {
        Self::of(Dlpack::new())
    }

    fn of(dlpack: Dlpack) -> Self {
        let bases = Layout::create(dlpack.work().join("bases"));
        Self { registry: Embedded::start(), dlpack, bases }
    }

    /// Pushes what `change` makes of an image as `bases/os:TAG`, and returns its name.
    fn base(&self, tag: &str, change: impl FnOnce(Image<'_>) -> Image<'_>) -> String {
        self.base_of(tag, change(self.bases.image()))
    }

    fn base_of(&self, tag: &str, image: Image<'_>) -> String {
        image.tagged(tag);
        self.copy(&self.bases, tag, &format!("bases/os:{tag}"))
    }

    /// Pushes what `tag` of `layout` names as `name`.
    fn copy(&self, layout: &Layout, tag: &str, name: &str) -> String {
        let name = self.registry.reference(name);
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]);
        skopeo.arg(format!("oci:{}:{tag}", layout.path().display()));
        output(skopeo.arg(format!("docker://{name}")), "skopeo");
        name
    }

    /// Two patch releases of one base, whose configs differ in all that a config can.
    fn releases(&self) -> (String, String) {
        let release = |tag: &str, env: [&str; 2], cmd: &str| {
            let common = self.bases.image().layer(Packing::Gzip, debian(""));
            let image = common.layer(Packing::Gzip, Tar::new().file("etc/release", tag)).config(|config| {
                config["config"] = json!({ "Env": env, "Cmd": [cmd], "Labels": { "release": tag }, "WorkingDir": "/" });
                config["history"] = json!([{ "created_by": "one" }, { "empty_layer": true }, { "created_by": tag }]);
            });
            self.base_of(tag, image)
        };
        let old = release("12.4.0", ["PATH=/usr/bin:/bin", "RELEASE=0"], "sh");
        (old, release("12.4.1", ["RELEASE=1", "PATH=/opt/new/bin:/usr/bin:/bin"], "bash"))
    }

    /// Writes the small environment of [`Dlpack::write_recipe`] on `base`, and pushes it.
    fn push(&self, base: &str, name: &str) -> String {
        self.dlpack.write_recipe(&format!("{base:?}"));
        let target = self.registry.reference(name);
        self.dlpack.ok(["push", &target]);
        target
    }

    /// How many bytes of blobs the registry gave away since its requests were forgotten.
    fn reads(&self) -> usize {
        self.registry.requests("GET", "/blobs/").len()
    }
}

#[test]
fn assembled_layers_move_to_a_new_base_as_they_are_and_come_to_what_a_build_there_comes_to() {
    let world = World::new();
    let (old, new) = world.releases();
    let target = world.push(&old, "team/env:1");
    let before = world.dlpack.json(["inspect", &target]);

    world.registry.server.clear_requests();
    let would = world.dlpack.json(["rebase", &target, "--onto", &new, "--dry-run"]);
    let puts = |part: &str| world.registry.requests("PUT", part).len() + world.registry.requests("POST", part).len();
    assert_eq!(puts(""), 0, "a rehearsal writes nothing");
    assert_eq!(world.reads(), 2, "config and the layer that this store has not read yet");

    world.registry.server.clear_requests();
    let done = world.dlpack.json(["rebase", &target, "--onto", &new]);
    assert_eq!(done["digest"], would["digest"]);
    let becomes = |outcome: &Value| {
        let layers = outcome["layers"].as_array().expect("layers").iter();
        layers.map(|layer| layer["becomes"].as_str().expect("a word").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(becomes(&done), ["kept"; 6]);
    // The base's first layer is there already; of its second and the config, the config alone moves.
    assert_eq!((&done["mounted"], &done["uploaded"], &done["present"]), (&json!(1), &json!(1), &json!(7)));
    assert_eq!(world.reads(), 0, "what the rehearsal read is known");
    let sent: u64 = world.registry.server.requests().iter().map(|request| request.received).sum();
    assert!(sent < 16_000, "config and manifest: {sent} bytes");

    // The same image as one that was locked and built there, by everybody who can do it.
    let digest = done["digest"].as_str().expect("a digest");
    let by_recipe = world.registry.reference("team/env:2");
    world.dlpack.ok(["push", "--no-cache", &target]);
    let lock = fs::read(world.dlpack.work().join("dlpack.lock")).expect("a lock");
    let with_recipe = ["rebase", "-r", "dlpack.toml", &target, "--onto", &new, "-t", &by_recipe];
    assert_eq!(world.dlpack.ok(with_recipe), digest);
    assert_eq!(fs::read(world.dlpack.work().join("dlpack.lock")).expect("a lock"), lock, "it is left alone");
    let built = world.push_locked_on(&new, "team/env:3");
    assert_eq!(built, digest);

    let after = world.dlpack.json(["inspect", &by_recipe]);
    assert_ne!(before["digest"], after["digest"]);
    let config = world.dlpack.config_of(digest);
    let env = config["config"]["Env"].as_array().expect("an environment");
    assert!(env.contains(&json!("RELEASE=1")) && env.contains(&json!("GREETING=hello")), "{env:?}");
    assert!(env.iter().any(|line| line.as_str().is_some_and(|line| line.ends_with(":/opt/new/bin:/usr/bin:/bin"))));
}

impl World {
    /// Locks the recipe anew on `base`, pushes it, and returns the digest.
    fn push_locked_on(&self, base: &str, name: &str) -> String {
        let text = fs::read_to_string(self.dlpack.work().join("dlpack.toml")).expect("a recipe");
        let (_, rest) = text.split_once('\n').expect("lines");
        self.dlpack.write("dlpack.toml", &format!("base = {base:?}\n{rest}"));
        self.dlpack.ok(["lock"]);
        self.dlpack.ok(["push", &self.registry.reference(name)])
    }
}

#[test]
fn the_result_may_go_to_another_repository_and_the_lock_may_follow_the_recipe() {
    let world = World::new();
    let (old, new) = world.releases();
    let target = world.push(&old, "team/env:1");
    let other = world.registry.reference("else/where:1");
    let moved = world.dlpack.json(["rebase", &target, "--onto", &new, "--tag", &other]);
    // Two layers of the base, and six over it.
    assert_eq!((&moved["mounted"], &moved["uploaded"]), (&json!(8), &json!(1)), "{moved}");

    // A lock is that of its recipe, which has to say so first.
    let update = ["rebase", "-r", "dlpack.toml", &target, "--onto", &new, "--update-lock"];
    let refused = world.dlpack.refuses(2, update);
    assert!(refused.contains("the recipe's `base` is not "), "{refused}");
    world.dlpack.edit("dlpack.toml", &old, &new);
    assert_eq!(world.dlpack.ok(update), moved["digest"].as_str().expect("a digest"));
    world.dlpack.ok(["lock", "--check"]);
    let again = world.dlpack.ok(["push", &target]);
    assert_eq!(again, moved["digest"].as_str().expect("a digest"), "the lock is what a build goes by");
    let twice = world.dlpack.json(["rebase", &target, "--onto", &new]);
    assert_eq!((&twice["digest"], &twice["uploaded"]), (&moved["digest"], &json!(0)), "it lies there already");
}

#[test]
fn what_would_not_work_on_a_base_is_refused_with_the_reason() {
    let world = World::new();
    let old = world.base("old", |image| image.layer(Packing::Gzip, debian("").file("srv/here", "")));
    world.dlpack.write_recipe(&format!("{old:?}"));
    world.dlpack.edit("dlpack.toml", "\"six==1.16.0\"", "\"markupsafe==3.0.2\"");
    world.dlpack.edit("dlpack.toml", "to = \"/etc/motd\"", "to = \"/srv/motd\"");
    let target = world.registry.reference("team/env:1");
    world.dlpack.ok(["push", &target]);

    let mut shown = Shown::new();
    shown.replace(world.registry.address(), "REGISTRY");
    let mut refuse = |case: &str, image: &str, base: &str, recipe: bool| {
        let recipe = if recipe { vec!["-r", "dlpack.toml"] } else { Vec::new() };
        let arguments = [vec!["rebase", image, "--onto", base], recipe].concat();
        shown.run(case, &mut world.dlpack.command(arguments));
    };
    let without = |path: &str| {
        let (directory, name) = path.rsplit_once('/').expect("a directory");
        Tar::new().file(&format!("{directory}/.wh.{name}"), "")
    };
    let on =
        |tag: &str, tar: Tar| world.base(tag, |image| image.layer(Packing::Gzip, debian("")).layer(Packing::Gzip, tar));

    let no_python = on("no-python", without("usr/bin/python3.11").file("usr/bin/python3.13", ""));
    refuse("another Python alone", &target, &no_python, false);
    refuse("another Python alone, with the recipe", &target, &no_python, true);
    let bare = on("bare", without("usr/bin/python3.11"));
    refuse("no Python", &target, &bare, false);
    let linked = on("linked", Tar::new().symlink("usr/bin/python3.11", "python3.12").file("usr/bin/python3.12", ""));
    refuse("a link to another Python", &target, &linked, false);
    let older = on("older", without("lib/x86_64-linux-gnu/libc.so.6").file("lib64/libc-2.12.so", ""));
    refuse("an older glibc", &target, &older, false);
    refuse("an older glibc, with the recipe", &target, &older, true);
    let musl = on("musl", without("lib/x86_64-linux-gnu/libc.so.6").file("lib/ld-musl-x86_64.so.1", ""));
    refuse("musl", &target, &musl, false);
    let none = on("no-libc", without("lib/x86_64-linux-gnu/libc.so.6"));
    refuse("no C library", &target, &none, false);
    let users =
        world.base("users", |image| image.layer(Packing::Gzip, debian("ubuntu:x:1000:1000::/home/ubuntu:/bin/sh\n")));
    refuse("other account files", &target, &users, false);
    refuse("a user with the account's uid, with the recipe", &target, &users, true);
    let link = on("link", Tar::new().symlink("srv", "var/srv"));
    refuse("a file behind a link", &target, &link, false);
    refuse("a file behind a link, with the recipe", &target, &link, true);
    let arm64 = world.base_of("arm64", world.bases.image_for("arm64").layer(Packing::Gzip, debian("")));
    refuse("another machine", &target, &arm64, false);
    refuse("no such base", &target, &world.registry.reference("bases/os:none"), false);
    refuse("an image of somebody else's", &old, &none, false);

    world.dlpack.edit("dlpack.toml", "Asia/Seoul", "Europe/Berlin");
    refuse("a recipe that changed", &target, &old, true);
    world.dlpack.ok(["lock"]);
    refuse("a lock that changed", &target, &old, true);
    fs::remove_file(world.dlpack.work().join("dlpack.lock")).expect("removed");
    refuse("no lock", &target, &old, true);
    shown.is("rebase/refusals");
}

#[test]
fn an_image_that_was_changed_or_does_not_tell_is_refused() {
    let world = World::new();
    let (old, new) = world.releases();
    let target = world.push(&old, "team/env:1");
    let mut shown = Shown::new();
    shown.replace(world.registry.address(), "REGISTRY");
    let mut refuse = |case: &str, change: &dyn Fn(&mut Value)| {
        let changed = world.registry.reference("team/env:changed");
        world.registry.change_manifest(&target, &changed, change);
        shown.run(case, &mut world.dlpack.command(["rebase", &changed, "--onto", &new]));
    };
    refuse("an older dlpack's", &|manifest| {
        manifest["annotations"].as_object_mut().expect("annotations").remove("dev.dlpack.added");
    });
    refuse("somebody's layer on top", &|manifest| {
        manifest["layers"][7]["annotations"] = json!({});
    });
    refuse("a layer that the config has not", &|manifest| {
        let layer = manifest["layers"][7].clone();
        manifest["layers"].as_array_mut().expect("layers").push(layer);
    });
    shown.is("rebase/images");

    // With its recipe it need not tell; and an index has images for others, too.
    let arguments = ["rebase", "-r", "dlpack.toml", &world.registry.reference("team/env:changed"), "--onto", &new];
    world.registry.change_manifest(&target, &world.registry.reference("team/env:changed"), &|manifest| {
        manifest["annotations"].as_object_mut().expect("annotations").remove("dev.dlpack.added");
    });
    world.dlpack.ok(arguments);
    let pushed = world.dlpack.json(["inspect", &target]);
    let index = world.registry.reference("team/env:index");
    world.registry.push_index(&index, pushed["digest"].as_str().expect("a digest"));
    let usage = world.dlpack.refuses(2, ["rebase", &index, "--onto", &new]);
    assert!(usage.contains("env:index is an index: one image would take the place of all that it has"), "{usage}");
    world.dlpack.ok(["rebase", &index, "--onto", &new, "--tag", &world.registry.reference("team/env:2")]);

    let usage = world.dlpack.refuses(2, ["rebase", &target, "--onto", &new, "--update-lock"]);
    assert!(usage.contains("name it with -r"), "{usage}");
    let digest = world.dlpack.json(["inspect", &target])["digest"].as_str().expect("a digest").to_owned();
    let by_digest = target.replace(":1", &format!("@{digest}"));
    let usage = world.dlpack.refuses(2, ["rebase", &by_digest, "--onto", &new]);
    assert!(usage.contains("name a tag for the new one with --tag"), "{usage}");
    world.dlpack.ok(["rebase", &by_digest, "--onto", &new, "-t", &target]);
}

#[test]
fn a_layer_that_saw_the_base_is_made_anew_if_its_key_says_so_and_only_with_its_recipe() {
    let world = World::of(Dlpack::unprivileged());
    let release = |tag: &str, content: &str, label: &str| {
        let image = world.bases.image().layer(Packing::Gzip, tiny::tar());
        let image = image.layer(Packing::Gzip, Tar::new().file("etc/release", content));
        world.base_of(tag, image.config(|config| config["config"]["Labels"] = json!({ "label": label })))
    };
    let (old, new) = (release("1", "one\n", "a"), release("2", "two\n", "a"));
    let recipe = |base: &str| {
        let step = "[[layer]]\nkind = \"run\"\nname = \"setup\"\ncommand = \"cat /etc/release > /setup\"\n";
        let files = "[[layer]]\nkind = \"files\"\nfiles = [{ content = \"Welcome.\", to = \"/etc/motd\" }]\n";
        world.dlpack.write("dlpack.toml", &format!("base = {base:?}\n{step}{files}"));
    };
    recipe(&old);
    let target = world.registry.reference("team/steps:1");
    world.dlpack.ok(["push", &target]);

    // Another config over the same files changes no key.
    let relabelled = release("1-relabelled", "one\n", "b");
    let other = world.registry.reference("team/steps:relabelled");
    let kept = world.dlpack.json(["rebase", &target, "--onto", &relabelled, "-t", &other]);
    assert_eq!((&kept["layers"][0]["becomes"], &kept["uploaded"]), (&json!("kept"), &json!(1)), "the config: {kept}");

    let mut shown = Shown::new();
    shown.replace(world.registry.address(), "REGISTRY");
    shown.run("a command that saw the base", &mut world.dlpack.command(["rebase", &target, "--onto", &new]));
    shown.is("rebase/sandboxed");

    let with_recipe = ["rebase", "-r", "dlpack.toml", &target, "--onto", &new];
    let would = world.dlpack.ok([&with_recipe[..], &["--dry-run"]].concat());
    assert!(would.contains("to be made") && would.contains("kept"), "{would}");
    let done = world.dlpack.json(with_recipe);
    let becomes = |at: usize| done["layers"][at]["becomes"].as_str().expect("a word").to_owned();
    assert_eq!((becomes(0).as_str(), becomes(1).as_str(), &done["built"]), ("replaced", "kept", &json!(1)));
    recipe(&new);
    world.dlpack.ok(["lock"]);
    let built = world.dlpack.ok(["push", &world.registry.reference("team/steps:3")]);
    assert_eq!(done["digest"], json!(built));

    // A machine that never saw it finds by its key what was made on that base.
    let elsewhere = Dlpack::unprivileged();
    fs::copy(world.dlpack.work().join("dlpack.toml"), elsewhere.work().join("dlpack.toml")).expect("copied");
    fs::copy(world.dlpack.work().join("dlpack.lock"), elsewhere.work().join("dlpack.lock")).expect("copied");
    let known = elsewhere.json(["rebase", "-r", "dlpack.toml", &target, "--onto", &new]);
    assert_eq!((&known["digest"], &known["built"]), (&done["digest"], &json!(0)));
}

#[test]
fn packages_that_the_new_bases_dpkg_has_are_not_installed_again_and_its_state_is_not_hidden() {
    let world = World::of(Dlpack::unprivileged());
    let archive = Archive::start();
    world.dlpack.write("key.asc", &archive.key());
    let recipe = |base: &str, package: &str| {
        let sources = format!(
            "{{ url = \"{}\", suites = [\"stable\"], components = [\"main\"], key = \"key.asc\" }}",
            archive.url()
        );
        let apt = format!("[[layer]]\nkind = \"apt\"\npackages = [\"{package}\"]\nsources = [{sources}]\n");
        world.dlpack.write("dlpack.toml", &format!("base = {base:?}\n{apt}"));
    };
    let packages = |digest: &str| {
        let manifest = world.dlpack.stored(digest);
        let layer = manifest["layers"].as_array().expect("layers").last().expect("a layer").clone();
        layer["annotations"]["dev.dlpack.contents"].as_str().expect("contents").to_owned()
    };
    // An image of dlpack's own is a base like any other: one of the two packages is in it.
    let old = world.copy(&debian_with_apt(), "bare", "bases/debian:1");
    let new = world.registry.reference("bases/debian:2");
    recipe(&old, "hello-data");
    world.dlpack.ok(["push", "--update", &new]);
    recipe(&old, "hello-service");
    let target = world.registry.reference("team/hello:1");
    let before = world.dlpack.ok(["push", "--update", &target]);
    assert!(packages(&before).contains("hello-data") && packages(&before).contains("hello-service"));

    let mut shown = Shown::new();
    shown.replace(world.registry.address(), "REGISTRY");
    shown.run("dpkg's state of another base", &mut world.dlpack.command(["rebase", &target, "--onto", &new]));
    let without_apt = world.base("tiny", |image| image.layer(Packing::Gzip, tiny::tar()));
    let arguments = ["rebase", "-r", "dlpack.toml", &target, "--onto", &without_apt];
    shown.run("a base without dpkg, with the recipe", &mut world.dlpack.command(arguments));
    shown.is("rebase/packages");

    let done = world.dlpack.ok(["rebase", "-r", "dlpack.toml", &target, "--onto", &new]);
    assert!(!packages(&done).contains("hello-data") && packages(&done).contains("hello-service"));
    recipe(&new, "hello-service");
    assert_eq!(world.dlpack.ok(["push", "--update", &world.registry.reference("team/hello:2")]), done);
}

#[test]
fn a_layer_in_parts_moves_with_all_of_them() {
    let world = World::new();
    let (old, new) = world.releases();
    let files = world.dlpack.work().join("data");
    fs::create_dir(&files).expect("a directory");
    let mut random = fastrand::Rng::with_seed(1);
    for name in ["one", "two", "three"] {
        let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(700_000).collect();
        fs::write(files.join(name), bytes).expect("a file");
    }
    let layers =
        "max-layer-size = \"1MB\"\n[[layer]]\nkind = \"files\"\nfiles = [{ from = \"data\", to = \"/data\" }]\n";
    world.dlpack.write("dlpack.toml", &format!("base = {old:?}\n{layers}"));
    world.dlpack.ok(["lock"]);
    let target = world.registry.reference("team/data:1");
    world.dlpack.ok(["push", &target]);

    let done = world.dlpack.json(["rebase", &target, "--onto", &new]);
    let becomes: Vec<&Value> = done["layers"].as_array().expect("layers").iter().map(|one| &one["becomes"]).collect();
    assert_eq!(becomes, ["kept"], "it is one layer of the recipe");
    let digest = done["digest"].as_str().expect("a digest");
    assert_eq!(world.dlpack.layers_of(digest).len(), 2 + 3, "the base's and the parts");
    assert_eq!(world.push_locked_on(&new, "team/data:2"), digest);
}
