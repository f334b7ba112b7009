//! `dlpack build`: what it makes, what it leaves alone, and that other tools take it.

#[path = "build/interrupted.rs"]
mod interrupted;

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::command::{Dlpack, Ran};
use crate::support::image::{Form, Layout, Packing, Tar};
use crate::support::output;
use crate::support::registry::DebianRegistry;

/// A home with the small environment on nothing.
fn small() -> Dlpack {
    let dlpack = Dlpack::new();
    dlpack.write_recipe("\"scratch\"");
    dlpack
}

fn digest(built: &Value) -> String {
    built["digest"].as_str().expect("a digest").to_owned()
}

#[test]
fn the_first_build_writes_every_layer_and_the_second_none() {
    let dlpack = small();
    let first = dlpack.json(["build"]);
    assert_eq!((&first["layers"], &first["built"]), (&json!(6), &json!(6)));
    assert!(dlpack.work().join("dlpack.lock").exists(), "it locks if there is no lock");
    let second = dlpack.json(["build"]);
    assert_eq!((&second["built"], &second["digest"]), (&json!(0), &first["digest"]));
    assert_eq!(dlpack.ok(["build"]), digest(&first), "without --json the digest stands alone");
    assert_eq!(dlpack.leftovers(), 0);
}

#[test]
fn builds_at_once_share_a_store_and_come_to_the_same() {
    let dlpack = small();
    dlpack.ok(["lock"]);
    let spawn = |_| dlpack.command(["build"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let children: Vec<_> = (0..4).map(spawn).collect();
    let printed: Vec<_> =
        children.into_iter().map(|child| Ran::from(child.wait_with_output().unwrap()).stdout).collect();
    assert!(printed[0].starts_with("sha256:") && printed.iter().all(|digest| *digest == printed[0]), "{printed:?}");
    dlpack.ok(["cache", "verify"]);
}

#[test]
fn another_version_of_a_wheel_changes_its_layer_alone() {
    let dlpack = small();
    let before = dlpack.layers_of(&dlpack.ok(["build"]));
    dlpack.edit("dlpack.toml", "six==1.16.0", "six==1.15.0");
    let built = dlpack.json(["build", "--update"]);
    assert_eq!(built["built"], 1);
    let after = dlpack.layers_of(&digest(&built));
    let changed: Vec<usize> = (0..6).filter(|&layer| before[layer] != after[layer]).collect();
    assert_eq!((after.len(), changed), (6, vec![3]), "the layer of six");
}

#[test]
fn a_change_of_each_layer_leaves_the_others_alone() {
    let dlpack = small();
    dlpack.ok(["build"]);
    for (from, to) in
        [("Welcome.", "Good morning."), ("Asia/Seoul", "Europe/Berlin"), ("user = \"dev\"", "user = \"devel\"")]
    {
        dlpack.edit("dlpack.toml", from, to);
        assert_eq!(dlpack.json(["build", "--update"])["built"], 1, "{to}");
    }
    dlpack.edit("dlpack.toml", "[config]", "[config]\nworkdir = \"/srv\"");
    assert_eq!(dlpack.json(["build", "--update"])["built"], 0, "the config is no layer");
}

#[test]
fn a_lock_alone_is_enough() {
    let dlpack = small();
    let built = dlpack.ok(["build"]);
    fs::remove_file(dlpack.work().join("dlpack.toml")).unwrap();
    fs::remove_dir_all(dlpack.store()).unwrap();
    assert_eq!(dlpack.ok(["build"]), built);
}

#[test]
fn a_lock_that_no_longer_fits_is_refused_by_the_line_that_changed() {
    let dlpack = small();
    dlpack.ok(["build"]);
    dlpack.edit("dlpack.toml", "tqdm==4.66.5", "tqdm==4.66.4");
    let refused = dlpack.refuses(3, ["build"]);
    assert!(refused.contains("dlpack.toml:21:"), "{refused}");
    assert!(refused.contains("hint: lock anew with `dlpack lock`"), "{refused}");
    assert!(dlpack.refuses(3, ["lock", "--check"]).contains("dlpack.toml:21:"));
    dlpack.ok(["build", "--update"]);
    dlpack.ok(["build"]);
}

#[test]
fn a_variable_that_was_set_is_remembered_by_the_lock() {
    let dlpack = small();
    let greeting = |digest: &str| {
        let config = dlpack.config_of(digest);
        let mut env = config["config"]["Env"].as_array().unwrap().iter().filter_map(Value::as_str);
        env.find_map(|line| line.strip_prefix("GREETING=")).unwrap().to_owned()
    };
    let set = dlpack.ok(["build", "--set", "greeting=hi"]);
    assert_eq!(greeting(&set), "hi");
    assert_eq!(dlpack.ok(["build"]), set);
    let other = dlpack.refuses(3, ["build", "--set", "greeting=ahoy"]);
    assert!(other.contains("`dlpack lock`"), "{other}");
    assert_eq!(greeting(&dlpack.ok(["build", "--update", "--set", "greeting=ahoy"])), "ahoy");
    assert!(dlpack.refuses(3, ["build", "--set", "greting=hi"]).contains("greting"));
}

/// A base with everything in its config that a recipe may change, and some that none
/// can.
fn base_of(dlpack: &Dlpack) -> Layout {
    let layout = Layout::create(dlpack.work().join("base"));
    let config = json!({
        "User": "somebody", "ExposedPorts": {"80/tcp": {}}, "Env": ["PATH=/opt/bin:/usr/bin", "LANG=C"],
        "Entrypoint": ["/init"], "Cmd": ["serve"], "WorkingDir": "/srv", "Labels": {"kept": "yes", "title": "base"},
        "StopSignal": "SIGINT", "Healthcheck": {"Test": ["CMD", "true"]}, "Volumes": {"/data": {}},
    });
    let tar = Tar::new().file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n").file("etc/group", "root:x:0:\n");
    layout.image().config(|image| image["config"] = config).layer(Packing::Gzip, tar).tagged("base");
    layout
}

#[test]
fn the_recipes_config_is_merged_into_the_bases() {
    let dlpack = Dlpack::new();
    base_of(&dlpack);
    let base = "base = { layout = \"base\", tag = \"base\" }\n";
    dlpack.write("dlpack.toml", base);
    let untouched = dlpack.config_of(&dlpack.ok(["build"]))["config"].clone();
    assert_eq!(untouched["Healthcheck"], json!({"Test": ["CMD", "true"]}));
    assert_eq!(untouched["StopSignal"], "SIGINT");
    assert_eq!((&untouched["Entrypoint"], &untouched["Cmd"]), (&json!(["/init"]), &json!(["serve"])));

    let recipe = "[config]\nenv = { LANG = \"C.UTF-8\", NEW = \"1\" }\nlabels = { title = \"mine\" }\n\
        expose = [8888]\nworkdir = \"/work\"\nuser = \"1000\"\nentrypoint = [\"/bin/echo\"]\n";
    dlpack.write("dlpack.toml", &format!("{base}{recipe}"));
    let config = dlpack.config_of(&dlpack.ok(["build", "--update"]))["config"].clone();
    assert_eq!(config["Env"], json!(["PATH=/opt/bin:/usr/bin", "LANG=C.UTF-8", "NEW=1"]));
    assert_eq!(config["Labels"], json!({"kept": "yes", "title": "mine"}));
    assert_eq!(config["ExposedPorts"], json!({"80/tcp": {}, "8888/tcp": {}}));
    assert_eq!((&config["WorkingDir"], &config["User"]), (&json!("/work"), &json!("1000")));
    assert_eq!(config["Entrypoint"], json!(["/bin/echo"]));
    assert_eq!(config.get("Cmd"), None, "the base's arguments are for the base's entrypoint");
    for (kept, value) in [("Healthcheck", json!({"Test": ["CMD", "true"]})), ("Volumes", json!({"/data": {}}))] {
        assert_eq!(config[kept], value);
    }

    dlpack.write("dlpack.toml", &format!("{base}[config]\ncmd = [\"other\"]\n"));
    let config = dlpack.config_of(&dlpack.ok(["build", "--update"]))["config"].clone();
    assert_eq!((&config["Entrypoint"], &config["Cmd"]), (&json!(["/init"]), &json!(["other"])));
}

#[test]
fn a_base_is_the_same_from_a_layout_and_from_a_registry() {
    let (registry, dlpack) = (DebianRegistry::start(), Dlpack::new());
    let layout = base_of(&dlpack);
    layout.push("base", &registry, "bases/small:1", Form::Oci);
    dlpack.write_recipe("{ layout = \"base\", tag = \"base\" }");
    let from_layout = dlpack.ok(["build"]);
    dlpack.write_recipe(&format!("{:?}", registry.reference("bases/small:1")));
    registry.forget_requests();
    let from_registry = dlpack.ok(["build", "--update"]);
    let layers = dlpack.layers_of(&from_registry);
    assert_eq!(layers, dlpack.layers_of(&from_layout));
    assert_eq!(dlpack.config_of(&from_registry), dlpack.config_of(&from_layout));
    registry.forget_requests();
    assert_eq!(dlpack.ok(["build"]), from_registry);
    assert_eq!(registry.requests(), [], "a locked base that is known is asked for no more");
    assert!(!dlpack.blob(&layers[0]).exists(), "the base's layer is not pulled");
    let manifest = dlpack.stored(&from_registry);
    assert_eq!(manifest["annotations"]["org.opencontainers.image.base.name"], registry.reference("bases/small:1"));
}

#[test]
fn zstd_layers_hold_what_gzip_layers_hold() {
    let dlpack = small();
    let gzip = dlpack.ok(["build"]);
    let text = fs::read_to_string(dlpack.work().join("dlpack.toml")).unwrap();
    dlpack.write("dlpack.toml", &format!("compression = \"zstd\"\n{text}"));
    let zstd = dlpack.ok(["build", "--update"]);
    assert_eq!(dlpack.config_of(&zstd)["rootfs"], dlpack.config_of(&gzip)["rootfs"], "the same DiffIDs");
    for layer in dlpack.stored(&zstd)["layers"].as_array().unwrap() {
        assert_eq!(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");
        output(Command::new("zstd").arg("-tq").arg(dlpack.blob(layer["digest"].as_str().unwrap())), "zstd");
    }
}

#[test]
fn skopeo_umoci_and_the_oci_image_tool_take_the_store_as_it_is() {
    let dlpack = small();
    let digest = dlpack.ok(["build", "example.org/team/small:1"]);
    let name = "example.org/team/small:1";
    let image = format!("oci:{}:{name}", dlpack.store().display());
    let seen = output(Command::new("skopeo").args(["inspect", &image]), "skopeo");
    let seen: Value = serde_json::from_slice(&seen.stdout).unwrap();
    assert_eq!((&seen["Digest"], seen["Layers"].as_array().unwrap().len()), (&json!(digest), 6));

    let mut validate = Command::new("oci-image-tool");
    validate.args(["validate", "--type", "image", "--ref", &format!("name={name}")]).arg(dlpack.store());
    output(&mut validate, "oci-image-tool");

    let bundle = dlpack.home().join("bundle");
    let mut unpack = Command::new("umoci");
    unpack.args(["unpack", "--rootless", "--image"]).arg(&image[4..]).arg(&bundle);
    output(&mut unpack, "umoci");
    let root = bundle.join("rootfs");
    assert_eq!(fs::read_to_string(root.join("etc/motd")).unwrap(), "Welcome.\n");
    assert_eq!(fs::read_link(root.join("etc/localtime")).unwrap().to_str(), Some("/usr/share/zoneinfo/Asia/Seoul"));
    assert!(root.join("opt/venv/lib/python3.11/site-packages/six.py").is_file());
    assert!(root.join("home/dev/.venv/pyvenv.cfg").is_file());
}

#[test]
fn a_layer_that_is_damaged_in_the_store_is_found_by_verify_and_made_anew() {
    let dlpack = small();
    let built = dlpack.ok(["build"]);
    let layer = dlpack.blob(&dlpack.layers_of(&built)[3]);
    let good = fs::read(&layer).unwrap();
    flip(&layer);
    let found = dlpack.run(["cache", "verify"]);
    assert_eq!(found.status, 6, "{}", found.stderr);
    assert!(found.stdout.contains("damaged: "), "{}", found.stdout);
    assert_eq!(dlpack.json(["build"])["built"], 1);
    assert_eq!(fs::read(&layer).unwrap(), good);
}

#[test]
fn a_wheel_that_is_damaged_in_the_store_is_fetched_anew() {
    let dlpack = small();
    let built = dlpack.ok(["build"]);
    for kept in ["blobs/sha256", "keys"] {
        fs::remove_dir_all(dlpack.store().join(kept)).unwrap();
    }
    for wheel in fs::read_dir(dlpack.store().join("downloads/sha256")).unwrap() {
        flip(&wheel.unwrap().path());
    }
    assert_eq!(dlpack.ok(["build"]), built);
}

/// Changes one bit in the middle of a file, not its size.
fn flip(path: &std::path::Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_file_below_a_link_of_the_base_is_refused() {
    let dlpack = Dlpack::new();
    let base = Layout::create(dlpack.work().join("base"));
    base.image().layer(Packing::Gzip, Tar::new().directory("usr/bin").symlink("bin", "usr/bin")).tagged("linked");
    let recipe = |to: &str| {
        let base = "base = { layout = \"base\", tag = \"linked\" }";
        format!("{base}\n[[layer]]\nkind = \"files\"\nfiles = [{{ content = \"x\", to = \"{to}\" }}]\n")
    };
    dlpack.write("dlpack.toml", &recipe("/bin/tool"));
    let said = dlpack.fails(["build"]);
    assert!(
        said.contains("/bin/tool is /usr/bin/tool in the base") && said.contains("write `/usr/bin/tool`"),
        "{said}"
    );
    dlpack.write("dlpack.toml", &recipe("/usr/bin/tool"));
    dlpack.ok(["build"]);
}

#[test]
fn a_lock_whose_account_file_is_another_than_its_hash_is_refused() {
    let dlpack = Dlpack::new();
    let base = Layout::create(dlpack.work().join("base"));
    let files = Tar::new().file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n").file("etc/group", "root:x:0:\n");
    base.image().layer(Packing::Gzip, files).tagged("accounts");
    let recipe = "base = { layout = \"base\", tag = \"accounts\" }\n[[layer]]\nkind = \"account\"\nuser = \"dev\"\n";
    dlpack.write("dlpack.toml", recipe);
    dlpack.ok(["build"]);
    dlpack.edit("dlpack.lock", "root:/root", "evil:/root");
    let said = dlpack.fails(["build"]);
    assert!(said.contains("the content of /etc/passwd is not that of its sha256 and size"), "{said}");
}

#[test]
fn a_key_that_is_taken_out_of_its_file_is_not_built_in_from_an_old_lock() {
    let dlpack = Dlpack::new();
    fs::write(dlpack.home().join("me.pub"), "ssh-ed25519 AAAA me\n").expect("written");
    dlpack.write("team.pub", "ssh-ed25519 BBBB one\nssh-ed25519 CCCC two\n");
    let files = "authorized-keys-files = [\"~/me.pub\", \"team.pub\"]";
    dlpack
        .write("dlpack.toml", &format!("base = \"scratch\"\n[[layer]]\nkind = \"account\"\nuser = \"dev\"\n{files}\n"));
    dlpack.ok(["build"]);
    fs::write(dlpack.home().join("me.pub"), "ssh-ed25519 DDDD me\n").expect("written");
    dlpack.ok(["build"]);
    dlpack.write("team.pub", "ssh-ed25519 BBBB one\n");
    let said = dlpack.fails(["build"]);
    assert!(said.contains("team.pub changed after the recipe was locked"), "{said}");
}
