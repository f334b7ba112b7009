//! `dlpack init`: a project's files become a recipe that says the same, which the recipe's
//! own reader accepts, and settings for its editor that leave a person's own alone.

mod whole;

use std::fs;
use std::path::{Path, PathBuf};

use dlpack::init::{self, Answers, Selection, flavours};
use dlpack::recipe::{Base, Interpreter, LayerKind, Loaded, Recipe, Venv};
use serde_json::Value;

use crate::support::command::{Dlpack, Ran};

/// What projects have, one directory each.
const FIXTURES: [&str; 10] = [
    "conda",
    "dockerfile",
    "dockerfile-environment",
    "dockerfile-options",
    "dockerfile-python",
    "dockerfile-shell",
    "plain-requirements",
    "poetry",
    "pyproject",
    "requirements",
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/init/fixtures").join(name)
}

/// A home whose working directory has what the fixture has.
fn project(name: &str) -> Dlpack {
    let dlpack = Dlpack::new();
    for entry in walkdir::WalkDir::new(fixture(name)).min_depth(1) {
        let entry = entry.unwrap();
        let to = dlpack.work().join(entry.path().strip_prefix(fixture(name)).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir(&to).unwrap()
        } else {
            fs::copy(entry.path(), &to).map(drop).unwrap()
        }
    }
    dlpack
}

/// The recipe as `dlpack plan` reads it, with all the files that it names.
fn load(dlpack: &Dlpack) -> Loaded {
    let loaded = Recipe::load(&dlpack.work().join("dlpack.toml"), &[]).unwrap_or_else(|error| panic!("{error}"));
    loaded.check_files().unwrap_or_else(|error| panic!("{error}"));
    let layers = &loaded.recipe.layers;
    let account = layers.iter().position(|layer| matches!(layer.kind, LayerKind::Account(_)));
    let apt = layers.iter().rposition(|layer| matches!(layer.kind, LayerKind::Apt(_)));
    // An account that an apt layer follows is one that its packages' scripts would not see: no plan has it.
    assert!(account.is_none_or(|account| apt.is_none_or(|apt| apt < account)), "{layers:?}");
    loaded
}

fn venv(loaded: &Loaded) -> &Venv {
    let venv = loaded.recipe.layers.iter().find_map(|layer| match &layer.kind {
        LayerKind::Venv(venv) => Some(venv),
        _ => None,
    });
    venv.expect("a venv")
}

fn read(dlpack: &Dlpack, name: &str) -> String {
    fs::read_to_string(dlpack.work().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn each_kind_of_project_becomes_a_recipe_that_says_the_same_and_is_accepted() {
    for name in FIXTURES {
        let dlpack = project(name);
        dlpack.ok(["init"]);
        load(&dlpack);
        let path = format!("tests/snapshots/init/{name}.toml");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let expected = snapbox::Data::read_from(&path, Some(snapbox::data::DataFormat::Text));
        snapbox::Assert::new()
            .action_env("SNAPSHOTS")
            .normalize_paths(false)
            .eq(read(&dlpack, "dlpack.toml"), expected);
    }
}

#[test]
fn a_dockerfile_on_a_flavour_adds_to_the_layers_that_it_has() {
    let dlpack = Dlpack::new();
    let text = "FROM ubuntu:22.04\nRUN useradd -m me\nRUN apt-get update && apt-get install -y jq\nRUN echo a > /b\n";
    dlpack.write("Dockerfile", text);
    dlpack.ok(["init", "--flavour", "base"]);
    let loaded = load(&dlpack);
    let apt = loaded.recipe.layers.iter().find_map(|layer| match &layer.kind {
        LayerKind::Apt(apt) => Some(&apt.packages),
        _ => None,
    });
    let apt = apt.expect("an apt layer");
    assert!(apt.contains(&"jq".to_owned()) && apt.contains(&"openssh-server".to_owned()), "{apt:?}");
    assert!(read(&dlpack, "dlpack.toml").contains("# Dockerfile:2: useradd -m me\n#   not said here"));
}

#[test]
fn a_project_that_is_copied_and_installed_is_one_of_the_recipes() {
    let dlpack = project("pyproject");
    dlpack.write("Dockerfile", "FROM python:3.12-slim\nWORKDIR /app\nCOPY . .\nRUN pip install --no-cache-dir .\n");
    dlpack.ok(["init"]);
    assert_eq!(venv(&load(&dlpack)).projects, ["."]);
}

#[test]
fn a_command_brings_the_groups_that_it_installs_and_no_other() {
    const POETRY: &str = "[tool.poetry]\n[tool.poetry.dependencies]\npython = \">=3.9\"\nsix = \"*\"\n\
         [tool.poetry.group.dev.dependencies]\nidna = \"*\"\n\
         [tool.poetry.group.My_Docs]\noptional = true\n[tool.poetry.group.My_Docs.dependencies]\ntqdm = \"*\"\n";
    const GROUPS: &str = "[project]\nname = \"p\"\nversion = \"1\"\ndependencies = [\"six\"]\n\
         [dependency-groups]\nDev = [\"idna\"]\nmy-docs = [\"tqdm\"]\n";
    let named = format!("{GROUPS}[tool.uv]\ndefault-groups = [\"My_docs\"]\n");
    let all = format!("{GROUPS}[tool.uv]\ndefault-groups = \"all\"\n");
    let dlpack = Dlpack::new();
    let cases: [(&str, &str, &[&str]); 11] = [
        (POETRY, "poetry install --no-root", &["idna", "six"]),
        (POETRY, "poetry install --no-root --with my-docs", &["idna", "six", "tqdm"]),
        (POETRY, "poetry install --no-root --without Dev", &["six"]),
        (POETRY, "poetry install --no-root --only main", &["six"]),
        (GROUPS, "uv sync --no-install-project", &["idna", "six"]),
        (GROUPS, "uv sync --no-install-project --no-dev", &["six"]),
        (GROUPS, "uv sync --no-install-project --no-group MY_DOCS --all-groups", &["idna", "six"]),
        (GROUPS, "uv sync --no-install-project --group my.docs --no-default-groups", &["six", "tqdm"]),
        (&named, "uv sync --no-install-project", &["six", "tqdm"]),
        (&all, "uv sync --no-install-project", &["idna", "six", "tqdm"]),
        (&all, "uv sync --no-install-project --no-group my_docs", &["idna", "six"]),
    ];
    for (pyproject, command, expected) in cases {
        dlpack.write("pyproject.toml", pyproject);
        dlpack.write("Dockerfile", &format!("FROM python:3.12-slim\nCOPY pyproject.toml .\nRUN {command}\n"));
        dlpack.ok(["init", "--force"]);
        let mut requirements = venv(&load(&dlpack)).requirements.clone();
        requirements.sort();
        assert_eq!(requirements, expected, "{command}");
    }
}

#[test]
fn an_account_that_a_step_makes_is_not_made_again() {
    let dlpack = Dlpack::new();
    let made = "FROM debian:12\nRUN set -e; if true; then useradd -m -u 1000 dev; fi\n";
    dlpack.write("Dockerfile", made);
    let has_account = |user: &str| {
        dlpack.ok(["init", "--force", "--user", user]);
        load(&dlpack).recipe.layers.iter().any(|layer| matches!(layer.kind, LayerKind::Account(_)))
    };
    assert!(!has_account("dev") && has_account("alice"));
}

#[test]
fn what_the_base_has_is_spoken_of_by_name() {
    let dlpack = Dlpack::new();
    let env = "ENV PATH=/x/bin:$PATH LIBS=/x/lib${LIBS:+:$LIBS} PRICE='$5'\nENV PATH=$PATH:/y A=${LIBS}z\n";
    dlpack.write("Dockerfile", &format!("FROM pytorch/pytorch:2.6.0-cuda12.4-cudnn9-devel\n{env}RUN make\n"));
    dlpack.ok(["init"]);
    let env = load(&dlpack).recipe.config.env;
    let expected = [("A", "/x/lib${LIBS:+:$LIBS}z"), ("LIBS", "/x/lib${LIBS:+:$LIBS}"), ("PATH", "/x/bin:$PATH:/y")];
    for (name, value) in expected.into_iter().chain([("PRICE", r"\$5")]) {
        assert_eq!(env[name], value);
    }
    let recipe = read(&dlpack, "dlpack.toml");
    assert!(recipe.contains("#   not said here: steps have no $PATH of the base"), "{recipe}");
}

#[test]
fn every_flavour_with_every_cuda_is_accepted() {
    let dlpack = Dlpack::new();
    for flavour in flavours() {
        for cuda in init::cuda_versions().into_iter().chain(["none"]) {
            let answers = Answers {
                flavour: Some(flavour.into()),
                cuda: Some(cuda.into()),
                user: Some("alice".into()),
                ..Answers::default()
            };
            let found = init::look(&dlpack.work(), &[], &Selection::default()).unwrap();
            let written =
                init::compose(found, &answers, "").unwrap_or_else(|error| panic!("{flavour} {cuda}: {error}"));
            init::check(&written.text).unwrap_or_else(|error| panic!("{error:?}\n{}", written.text));
        }
    }
}

#[test]
fn options_say_what_the_files_leave_open() {
    let dlpack = project("plain-requirements");
    dlpack.ok(["init", "--flavour", "torch", "--cuda", "12.6", "--python", "3.12", "--user", "alice"]);
    let loaded = load(&dlpack);
    assert_eq!(loaded.recipe.base, Base::Image("nvidia/cuda:12.6.3-cudnn-devel-ubuntu24.04".into()));
    let venv = venv(&loaded);
    assert_eq!((venv.python.as_str(), &venv.requirements_files[..]), ("3.12", &["requirements.txt".to_owned()][..]));
    assert!(venv.requirements.contains(&"torch==2.6.0".to_owned()), "{:?}", venv.requirements);
    let account = loaded.recipe.layers.iter().find_map(|layer| match &layer.kind {
        LayerKind::Account(account) => Some(account.user.as_str()),
        _ => None,
    });
    assert_eq!(account, Some("alice"));
}

#[test]
fn packages_lie_on_top_of_those_that_a_framework_image_has() {
    let dlpack = Dlpack::new();
    let made = "RUN useradd -m -s /bin/bash -u 1000 dev\nUSER dev\nRUN pip install einops\n";
    dlpack.write("Dockerfile", &format!("FROM nvcr.io/nvidia/pytorch:22.10-py3\n{made}"));
    dlpack.ok(["init", "--python", "3.8"]);
    let loaded = load(&dlpack);
    let packages = venv(&loaded);
    let interpreter = Some(Interpreter::Path("/opt/conda/bin/python3.8".into()));
    assert_eq!((packages.user.as_deref(), &packages.interpreter), (Some("dev"), &interpreter));
    assert_eq!((packages.python.as_str(), &packages.requirements[..]), ("3.8", &["einops".to_owned()][..]));
    dlpack.write("Dockerfile", "FROM nvcr.io/nvidia/pytorch:22.10-py3\nRUN pip install einops\n");
    dlpack.ok(["init", "--python", "3.8", "--force"]);
    assert!(read(&dlpack, "dlpack.toml").contains("# A venv does not see the packages"));

    dlpack.write("requirements.txt", "einops\n");
    dlpack.ok(["init", "--flavour", "ngc-pytorch", "--from", "requirements.txt", "--force"]);
    let loaded = load(&dlpack);
    assert_eq!(loaded.recipe.base, Base::Image("nvcr.io/nvidia/pytorch:22.10-py3".into()));
    assert_eq!(venv(&loaded).requirements_files, ["requirements.txt"]);
}

#[test]
fn a_recipe_elsewhere_leads_back_to_the_files() {
    let dlpack = project("requirements");
    fs::create_dir(dlpack.work().join("images")).unwrap();
    let said = dlpack.json(["init", "--output", "images/gpu.toml"]);
    assert_eq!((&said["recipe"], &said["changed"]), (&Value::from("images/gpu.toml"), &Value::from(true)));
    let loaded = Recipe::load(&dlpack.work().join("images/gpu.toml"), &[]).unwrap();
    loaded.check_files().unwrap();
    assert_eq!(venv(&loaded).projects, ["../lib"]);
    let printed = dlpack.ok(["init", "--output", "-"]);
    assert!(printed.contains("projects = [\"lib\"]") && !dlpack.work().join("dlpack.toml").exists(), "{printed}");
}

#[test]
fn of_several_files_the_one_that_says_most_is_read_unless_others_are_named() {
    let dlpack = project("plain-requirements");
    dlpack.write("environment.yml", "dependencies: [python=3.11, scipy]\n");
    dlpack.write("pyproject.toml", "[project]\nname = \"x\"\nversion = \"1\"\nrequires-python = \">=3.9,<3.12\"\n");
    let said = dlpack.json(["init"]);
    assert_eq!(said["read"], serde_json::json!(["requirements.txt"]));
    assert!(read(&dlpack, "dlpack.toml").contains("# Not read: environment.yml."));
    assert_eq!(venv(&load(&dlpack)).python, "3.11");
    dlpack.ok(["init", "--force", "--from", "requirements.txt", "--from", "environment.yml"]);
    let loaded = load(&dlpack);
    assert_eq!(venv(&loaded).requirements, ["scipy"]);
    assert_eq!(venv(&loaded).requirements_files, ["requirements.txt"]);
}

#[test]
fn a_second_run_changes_nothing_and_a_persons_recipe_stays() {
    let dlpack = project("pyproject");
    let first = dlpack.json(["init", "--vscode"]);
    assert_eq!(first["changed"], true);
    let names = ["dlpack.toml", ".vscode/settings.json", ".vscode/extensions.json"];
    let before =
        names.map(|name| (read(&dlpack, name), fs::metadata(dlpack.work().join(name)).unwrap().modified().unwrap()));
    let again = dlpack.json(["init", "--vscode"]);
    assert_eq!((&again["changed"], &again["settings"][0]["outcome"]), (&Value::from(false), &Value::from("unchanged")));
    let after =
        names.map(|name| (read(&dlpack, name), fs::metadata(dlpack.work().join(name)).unwrap().modified().unwrap()));
    assert!(before == after);

    dlpack.edit("dlpack.toml", "# Written by", "# Mine, once written by");
    let refused = dlpack.refuses(1, ["init"]);
    assert!(refused.contains("there is a recipe already") && refused.contains("--force"), "{refused}");
    dlpack.ok(["init", "--vscode"]);
    assert!(read(&dlpack, "dlpack.toml").starts_with("# Mine"));
    dlpack.ok(["init", "--force"]);
    assert_eq!(read(&dlpack, "dlpack.toml"), before[0].0);
}

#[test]
fn settings_of_an_editor_are_merged_into_those_that_are_there() {
    let dlpack = project("pyproject");
    let settings = "{\n  // mine\n  \"python.defaultInterpreterPath\": \"/usr/bin/python3\", // this one\n  \"[python]\": {\n    \"editor.formatOnSave\": false,\n  },\n}\n";
    dlpack.write(".vscode/settings.json", settings);
    dlpack.write(
        ".vscode/extensions.json",
        "{\"recommendations\": [\"MS-Python.python\"], \"unwantedRecommendations\": [\"charliermarsh.ruff\"]}",
    );
    dlpack.ok(["init", "--vscode"]);
    snapbox::assert_data_eq!(
        read(&dlpack, ".vscode/settings.json"),
        snapbox::str![[r#"
{
  // mine
  "python.defaultInterpreterPath": "/usr/bin/python3", // this one
  "[python]": {
    "editor.formatOnSave": false,
    "editor.defaultFormatter": "ms-python.black-formatter",
    "editor.codeActionsOnSave": {
      "source.organizeImports": "explicit",
    },
  },
}

"#]]
    );
    let extensions: Value = serde_json::from_str(&read(&dlpack, ".vscode/extensions.json")).unwrap();
    assert_eq!(extensions["recommendations"], serde_json::json!(["MS-Python.python", "ms-python.black-formatter"]));
}

#[test]
fn settings_keep_the_form_that_they_have_and_stay_where_they_cannot_be_read() {
    let dlpack = Dlpack::new();
    dlpack.write(".vscode/settings.json", "\u{feff}// mine\r\n{\r\n\t\"a\": \"//x\", // one\r\n}\r\n");
    dlpack.ok(["init", "--vscode"]);
    let settings = read(&dlpack, ".vscode/settings.json");
    assert!(settings.starts_with("\u{feff}// mine\r\n{\r\n\t\"a\": \"//x\", // one\r\n\t\"python."), "{settings}");
    assert!(settings.ends_with("},\r\n}\r\n"), "{settings}");
    for broken in ["{ \"a\": 1 \"b\": 2 }", "[1]", "{"] {
        dlpack.write(".vscode/settings.json", broken);
        let ran = dlpack.run(["init", "--vscode"]);
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        assert!(ran.stderr.contains("settings.json stays as it is: "), "{}", ran.stderr);
        assert_eq!(read(&dlpack, ".vscode/settings.json"), broken);
    }
}

/// Runs a command on a terminal of its own, types an answer at each question, and prints
/// what it said.
const ANSWERS: &str = r#"
import os, pty, sys
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[1], sys.argv[1:])
said, answers = b"", [b"", b"9.9", b"12.4", b"", b"Bob", b"bob", b"yes"]
try:
    while True:
        said += os.read(terminal, 1000)
        while answers and said.count(b"]: ") > 7 - len(answers):
            os.write(terminal, answers.pop(0) + b"\n")
except OSError:
    pass
print(said.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"#;

#[test]
fn on_a_terminal_it_asks_and_takes_the_default_for_no_answer() {
    let dlpack = project("plain-requirements");
    let ran = Ran::from(dlpack.command_in(&["python3", "-c", ANSWERS], ["init"]).output().unwrap());
    assert_eq!(ran.status, 0, "{}", ran.stdout);
    let loaded = load(&dlpack);
    assert_eq!(loaded.recipe.base, Base::Image("nvidia/cuda:12.4.1-cudnn-devel-ubuntu22.04".into()));
    assert_eq!(loaded.recipe.config.workdir.as_deref(), Some("/home/bob"));
    assert!(dlpack.work().join(".vscode/settings.json").is_file());
    for said in [
        "the recipe is written from requirements.txt",
        "flavour (plain: the project's packages alone; or on base",
        "error: no base image is known for CUDA 9.9",
        "Python [3.10]",
        "error: `Bob` can't be an account's name",
        "wrote dlpack.toml\r\n",
    ] {
        assert!(ran.stdout.contains(said), "no `{said}` in {}", ran.stdout);
    }
    let again = Ran::from(dlpack.command_in(&["python3", "-c", ANSWERS], ["init"]).output().unwrap());
    assert!(again.status == 1 && !again.stdout.contains("]: "), "{}", again.stdout);
}

#[test]
fn what_it_writes_locks_against_the_package_index() {
    let dlpack = Dlpack::new();
    dlpack.write("requirements.txt", "six==1.16.0\n-r more.txt\n");
    dlpack.write("more.txt", "tqdm==4.66.5 ; python_version >= '3.8'\n");
    dlpack.ok(["init", "--yes", "--python", "3.11"]);
    // A base that no registry is asked for: the recipe states where its Python is.
    dlpack.edit("dlpack.toml", "base = \"python:3.11-slim\"", "base = \"scratch\"");
    dlpack.ok(["lock"]);
    let lock = read(&dlpack, "dlpack.lock");
    assert!(lock.contains("six-1.16.0") && lock.contains("tqdm-4.66.5"), "{lock}");
    let plan = dlpack.ok(["plan"]);
    assert!(plan.contains("account"), "{plan}");
}
