//! Recipes: what a person may write, what flavours and variables make of it, and
//! what is said about everything that is wrong.

mod errors;

use std::fs;
use std::path::Path;

use dlpack::recipe::{Account, Base, IdSetting, LayerKind, Loaded, Recipe, Venv};
use snapbox::{assert_data_eq, str};
use tempfile::TempDir;

/// A directory with these files in it.
fn files(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    directory
}

fn settings(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Loads `dlpack.toml` in a directory.
fn load(directory: &TempDir, set: &[(&str, &str)]) -> Loaded {
    let loaded = Recipe::load(&directory.path().join("dlpack.toml"), &settings(set));
    loaded.unwrap_or_else(|error| panic!("{error}"))
}

fn names(loaded: &Loaded) -> Vec<&str> {
    loaded.recipe.layers.iter().map(|layer| layer.name.as_str()).collect()
}

fn kind<'a>(loaded: &'a Loaded, name: &str) -> &'a LayerKind {
    &loaded.recipe.layers.iter().find(|layer| layer.name == name).unwrap().kind
}

fn venv<'a>(loaded: &'a Loaded, name: &str) -> &'a Venv {
    match kind(loaded, name) {
        LayerKind::Venv(venv) => venv,
        other => panic!("{other:?}"),
    }
}

fn account(loaded: &Loaded) -> &Account {
    match kind(loaded, "account") {
        LayerKind::Account(account) => account,
        other => panic!("{other:?}"),
    }
}

// What comes with dlpack.

#[test]
fn each_shipped_recipe_loads_by_its_name() {
    for name in dlpack::recipe::shipped_names() {
        let loaded = Recipe::load(Path::new(name), &[]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(loaded.directory, Path::new("."));
        let python = venv(&loaded, "python");
        if name == "ngc-pytorch" {
            assert_eq!((python.user.as_deref(), python.path.as_str()), (Some("dev"), "~/.local"));
            assert!(loaded.check_files().unwrap_err().to_string().contains("requirements.txt"), "it is the caller's");
            continue;
        }
        assert_eq!(python.path, "/opt/venv", "{name}");
        assert!(python.requirements.contains(&"jupyterlab".to_owned()), "{name}");
        loaded.check_files().unwrap();
    }
}

#[test]
fn the_shipped_flavours_have_the_contents_of_the_dl_env_image() {
    let loaded = Recipe::load(Path::new("rapids"), &settings(&[("user", "alice")])).unwrap();
    assert_eq!(names(&loaded), ["apt", "python", "account", "sshd", "jupyter", "timezone"]);
    assert_eq!(loaded.recipe.base, Base::Image("nvidia/cuda:12.4.1-cudnn-devel-ubuntu22.04".into()));
    let requirements = &venv(&loaded, "python").requirements;
    let package = |requirement: &str| requirement.split(['=', '<', '>']).next().unwrap_or_default().to_owned();
    let mut packages: Vec<String> = requirements.iter().map(|requirement| package(requirement)).collect();
    packages.sort();
    assert_data_eq!(
        packages.join("\n"),
        str![[r#"
cudf-cu12
cuml-cu12
cupy-cuda12x
jupyterlab
matplotlib
numpy
nvidia-dali-cuda120
pandas
scikit-image
scikit-learn
scipy
seaborn[stats]
torch
torchaudio
torchvision
tqdm
xgboost
"#]]
    );
    let LayerKind::Apt(apt) = kind(&loaded, "apt") else { panic!("no apt") };
    for package in ["curl", "openssh-server", "tmux", "tzdata"] {
        assert!(apt.packages.contains(&package.to_owned()), "{package}");
    }
    assert_eq!(account(&loaded).user, "alice");
    assert_eq!(account(&loaded).uid, Some(IdSetting::Id(1000)));
}

#[test]
fn a_shipped_recipe_can_be_extended_by_its_name() {
    let directory = files(&[("dlpack.toml", "extends = \"torch\"\ndrop = [\"sshd\"]\n")]);
    let loaded = load(&directory, &[]);
    assert_eq!(names(&loaded), ["apt", "python", "account", "jupyter", "timezone"]);
    let location = loaded.sources.locate(&["layer", "account", "user"]).unwrap();
    assert_eq!(location.file, "shipped:base.toml");
}

#[test]
fn a_resolved_recipe_survives_the_way_through_toml() {
    let layout = files(&[(
        "dlpack.toml",
        r#"
        base = { layout = "image" }
        compression = "zstd"
        [[layer]]
        kind = "account"
        user = "alice"
        uid = "host"
        [[layer]]
        kind = "apt"
        packages = ["tmux", "libc6:i386"]
        recommends = true
        sources = [{ url = "https://example.org/debian", suites = ["stable"], components = ["main"], key = "a.asc" }]
        [[layer]]
        kind = "venv"
        python = "3.12"
        interpreter = { url = "https://example.org/python.tar.zst", sha256 = "0000000000000000000000000000000000000000000000000000000000000000" }
        "#,
    )]);
    let recipes = dlpack::recipe::shipped_names().map(|name| Recipe::load(Path::new(name), &[]).unwrap().recipe);
    for recipe in recipes.chain([load(&layout, &[]).recipe]) {
        let text = toml::to_string(&recipe).unwrap();
        assert_eq!(toml::from_str::<Recipe>(&text).unwrap(), recipe, "{text}");
    }
}

// The reference.

fn reference() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/recipes.md")).unwrap()
}

#[test]
fn every_example_of_the_reference_is_a_recipe() {
    let text = reference();
    let examples: Vec<&str> =
        text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    assert!(examples.len() > 5);
    for example in examples {
        let whole = example.contains("extends = ") || example.contains("base = ");
        let recipe = if whole { example.to_owned() } else { format!("base = \"debian:12\"\n{example}") };
        load(&files(&[("dlpack.toml", &recipe)]), &[]);
    }
}

/// The keys that may stand where `recipe` has the key `nonesuch`: its hint says them.
fn allowed(recipe: &str) -> Vec<String> {
    let directory = files(&[("dlpack.toml", recipe)]);
    let error = Recipe::load(&directory.path().join("dlpack.toml"), &[]).expect_err("nothing reads it");
    let hint = error.hint().unwrap();
    hint.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_reference_has_each_key_of_each_table() {
    let text = reference();
    let section = |title: &str| {
        let (_, rest) = text.split_once(&format!("\n{title}\n")).unwrap_or_else(|| panic!("no section {title}"));
        let end = ["\n## ", "\n### "].iter().filter_map(|next| rest.find(next)).min().unwrap_or(rest.len());
        &rest[..end]
    };
    let layer = |kind: &str| format!("base = \"a\"\n[[layer]]\nkind = \"{kind}\"\nnonesuch = 1\n");
    let mut tables = vec![
        ("## Top level", "base = \"a\"\nnonesuch = 1\n".to_owned()),
        ("### `base`", "base = { nonesuch = 1 }\n".to_owned()),
        ("## Config", "base = \"a\"\n[config]\nnonesuch = 1\n".to_owned()),
        ("## Tests", "base = \"a\"\n[test]\nnonesuch = 1\n".to_owned()),
        ("## Tests", "base = \"a\"\n[test]\ncommands = [{ nonesuch = 1 }]\n".to_owned()),
        ("### files", "base = \"a\"\n[[layer]]\nkind = \"files\"\nfiles = [{ nonesuch = 1 }]\n".to_owned()),
        ("### apt", "base = \"a\"\n[[layer]]\nkind = \"apt\"\nsources = [{ nonesuch = 1 }]\n".to_owned()),
        (
            "### venv",
            "base = \"a\"\n[[layer]]\nkind = \"venv\"\npython = \"3.11\"\ninterpreter = { nonesuch = 1 }\n".to_owned(),
        ),
    ];
    let kinds = ["venv", "account", "sshd", "jupyter", "files", "timezone", "apt", "run"];
    let titles = kinds.map(|kind| format!("### {kind}"));
    tables.extend(titles.iter().zip(kinds).map(|(title, kind)| (title.as_str(), layer(kind))));
    for (title, recipe) in tables {
        for key in allowed(&recipe) {
            let row = format!("| `{key}` |");
            let of_every_layer = title.starts_with("###") && section("## Layers").contains(&row);
            assert!(section(title).contains(&row) || of_every_layer, "{title} lacks `{key}`");
        }
    }
}

// Flavours.

const PARENT: &str = r#"
base = "debian:12"

[vars]
user = "dev"

[config]
env = { A = "1", B = "2" }
expose = [80]
cmd = ["sh"]

[[layer]]
kind = "apt"
packages = ["curl"]

[[layer]]
kind = "venv"
name = "python"
python = "3.11"
requirements = ["numpy"]

[[layer]]
kind = "account"
user = "${user}"

[[layer]]
kind = "sshd"
"#;

fn child(text: &str) -> TempDir {
    files(&[("parent.toml", PARENT), ("dlpack.toml", text)])
}

#[test]
fn a_layer_without_a_kind_amends_the_one_of_its_name() {
    let text =
        "extends = \"parent.toml\"\n[[layer]]\nname = \"python\"\npython = \"3.12\"\nrequirements = [\"torch\"]\n";
    let loaded = load(&child(text), &[]);
    assert_eq!(names(&loaded), ["apt", "python", "account", "sshd"]);
    assert_eq!(venv(&loaded, "python").python, "3.12");
    assert_eq!(venv(&loaded, "python").requirements, ["numpy", "torch"]);
}

#[test]
fn a_layer_with_a_kind_replaces_the_one_of_its_name_where_it_stands() {
    let text = "extends = \"parent.toml\"\n[[layer]]\nkind = \"venv\"\nname = \"python\"\npython = \"3.12\"\n";
    let loaded = load(&child(text), &[]);
    assert_eq!(names(&loaded), ["apt", "python", "account", "sshd"]);
    assert!(venv(&loaded, "python").requirements.is_empty());
}

#[test]
fn a_new_layer_comes_last_or_after_the_one_it_names() {
    let text = "extends = \"parent.toml\"\ndrop = [\"sshd\"]\n\
        [[layer]]\nkind = \"timezone\"\nzone = \"Asia/Seoul\"\n\
        [[layer]]\nkind = \"run\"\ncommand = \"true\"\nafter = \"apt\"\n";
    assert_eq!(names(&load(&child(text), &[])), ["apt", "run", "python", "account", "timezone"]);
}

#[test]
fn env_labels_and_ports_are_added_to_and_the_rest_of_the_config_replaced() {
    let text = "extends = \"parent.toml\"\nbase = \"debian:13\"\n\
        [config]\nenv = { B = \"3\", C = \"4\" }\nexpose = [\"53/udp\"]\ncmd = [\"bash\", \"-l\"]\n";
    let recipe = load(&child(text), &[]).recipe;
    let env: Vec<_> = recipe.config.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(env, ["A=1", "B=3", "C=4"]);
    assert_eq!(recipe.config.expose, ["80", "53/udp"]);
    assert_eq!(recipe.config.cmd.unwrap(), ["bash", "-l"]);
    assert_eq!(recipe.base, Base::Image("debian:13".into()));
}

#[test]
fn a_path_starts_from_the_file_that_it_stands_in() {
    let below = "base = { layout = \"../images/debian\" }\n[[layer]]\nkind = \"venv\"\npython = \"3.11\"\n\
        requirements-files = [\"./requirements.txt\"]\nwheels = [\"dist/a-1-py3-none-any.whl\"]\n\
        [[layer]]\nkind = \"account\"\nuser = \"dev\"\nauthorized-keys-files = [\"~/.ssh/id_ed25519.pub\"]\n";
    let directory = files(&[
        (
            "dlpack.toml",
            "extends = \"shared/flavours/gpu.toml\"\n[[layer]]\nname = \"venv\"\nrequirements-files = [\"more.txt\"]\n",
        ),
        ("shared/flavours/gpu.toml", "extends = \"../base.toml\"\n"),
        ("shared/base.toml", below),
    ]);
    let loaded = load(&directory, &[]);
    assert_eq!(loaded.recipe.base, Base::Layout { path: "images/debian".into(), tag: None });
    assert_eq!(venv(&loaded, "venv").requirements_files, ["shared/requirements.txt", "more.txt"]);
    assert_eq!(venv(&loaded, "venv").wheels, ["shared/dist/a-1-py3-none-any.whl"]);
    assert_eq!(loaded.file("more.txt"), directory.path().join("more.txt"));
    assert_eq!(account(&loaded).authorized_keys_files, ["~/.ssh/id_ed25519.pub"]);
}

#[test]
fn each_value_is_located_in_the_file_where_it_won() {
    let text = "extends = \"parent.toml\"\n\n[[layer]]\nname = \"python\"\nrequirements = [\n    \"torch\",\n]\n";
    let directory = child(text);
    let sources = load(&directory, &[]).sources;
    let locate = |path: &[&str]| {
        let location = sources.locate(path)?.to_string();
        Some(location.replace(&format!("{}/", directory.path().display()), ""))
    };
    assert_eq!(locate(&["base"]).unwrap(), "parent.toml:2:8");
    assert_eq!(locate(&["config", "env", "B"]).unwrap(), "parent.toml:8:22");
    assert_eq!(locate(&["layer", "python"]).unwrap(), "dlpack.toml:3:1");
    assert_eq!(locate(&["layer", "python", "python"]).unwrap(), "parent.toml:19:10");
    assert_eq!(locate(&["layer", "python", "requirements", "0"]).unwrap(), "parent.toml:20:17");
    assert_eq!(locate(&["layer", "python", "requirements", "1"]).unwrap(), "dlpack.toml:6:5");
    assert_eq!(locate(&["layer", "sshd", "port"]), None);
    assert_eq!(locate(&["layer", "jupyter"]), None);
}

// Variables.

#[test]
fn a_variable_has_its_default_or_what_is_set() {
    let recipe = r#"
        base = "debian:12"
        [vars]
        user = "dev"
        home = "/home/${user}"
        uid = 1000
        passwords = false
        [config]
        workdir = "${home}/work"
        env = { COST = "$$5", PLAIN = "$HOME", LITERAL = "$${user}" }
        [[layer]]
        kind = "account"
        user = "${user}"
        uid = "${uid}"
        [[layer]]
        kind = "sshd"
        passwords = "${passwords}"
    "#;
    let directory = files(&[("dlpack.toml", recipe)]);
    let loaded = load(&directory, &[]);
    assert_eq!(loaded.recipe.config.workdir.as_deref(), Some("/home/dev/work"));
    let env: Vec<&str> = loaded.recipe.config.env.values().map(String::as_str).collect();
    assert_eq!(env, ["$5", "${user}", "$HOME"]);
    let loaded = load(&directory, &[("user", "alice"), ("uid", "host"), ("passwords", "true")]);
    assert_eq!(loaded.recipe.config.workdir.as_deref(), Some("/home/alice/work"));
    assert_eq!(account(&loaded).uid, Some(IdSetting::Host));
    assert!(matches!(kind(&loaded, "sshd"), LayerKind::Sshd(sshd) if sshd.passwords));
}

#[test]
fn a_setting_is_taken_as_it_stands() {
    let directory =
        files(&[("dlpack.toml", "base = \"scratch\"\n[vars]\nx = \"a\"\n[config]\nenv = { X = \"${x}\" }\n")]);
    assert_eq!(load(&directory, &[("x", "${x} $$")]).recipe.config.env["X"], "${x} $$");
}
