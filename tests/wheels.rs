//! A venv made of layers is the one that uv makes of the same wheels.

use std::fs;
use std::path::Path;
use std::process::Command;

use dlpack::changeset::venv::changesets;
use dlpack::layer::Layer;
use dlpack::oci::ImageConfig;
use dlpack::python::install;
use dlpack::python::scheme::Scheme;
use dlpack::python::wheel::Wheel;
use dlpack::store::Store;
use tempfile::TempDir;

use crate::support::uv::uv;
use crate::support::wheel::{Entry, FILE, Zip, made, python, real};
use crate::support::{output, venv};

/// One of each kind: compiled code; console scripts; headers; a binary in scripts; a
/// script with `#!python`; data; CUDA; an installer that is named after its Python.
const REAL: [&str; 8] = [
    "numpy==2.2.1",
    "tqdm==4.67.1",
    "greenlet==3.1.1",
    "ruff==0.9.2",
    "jmespath==1.0.1",
    "jupyterlab-widgets==3.0.13",
    "nvidia-nvtx-cu12==12.4.127",
    "pip==24.3.1",
];

/// A place for a venv, a store, and the venv's path.
struct Place {
    directory: TempDir,
    store: Store,
    prefix: String,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("dlpack-venv-").tempdir().expect("a temporary directory");
        let store = Store::open(&directory.path().join("store")).expect("a store");
        let prefix = directory.path().join("opt/venv").to_str().expect("UTF-8").to_owned();
        Self { directory, store, prefix }
    }

    /// Makes the venv of `wheels` (file names and bytes) and unpacks it in its place.
    fn build(&self, wheels: &[(String, Vec<u8>)]) -> Vec<Layer> {
        let locked = wheels.iter().enumerate().map(|(index, (file, bytes))| {
            // the first has a layer of its own, the others share a bin
            venv::locked(&self.store, file, bytes, (index > 0).then_some(0))
        });
        let locked = venv::venv(locked.collect());
        let changesets = changesets(&venv::recipe(&self.prefix), &locked, std::path::Path::new("."), &self.store)
            .expect("changesets");
        let layers: Vec<Layer> = changesets
            .iter()
            .map(|layer| {
                venv::write(&self.store, layer.changeset.as_ref()).unwrap_or_else(|error| panic!("{error:#?}"))
            })
            .collect();
        venv::unpack(&self.store, &layers, Path::new("/"));
        layers
    }

    fn python(&self, code: &str) -> String {
        let output = output(Command::new(format!("{}/bin/python", self.prefix)).args(["-B", "-c", code]), "python3");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Makes the venv with uv, in the same place, and moves it away.
    fn by_uv(&self, wheels: &[(String, Vec<u8>)]) -> std::path::PathBuf {
        let away = self.directory.path().join("by-uv");
        let files = self.directory.path().join("wheels");
        fs::create_dir_all(&files).expect("created");
        let run = |arguments: &[&str]| {
            let mut uv = Command::new(uv());
            uv.args(["--quiet", "--offline", "--cache-dir"]).arg(self.directory.path().join("uv-cache"));
            output(uv.args(arguments), "python3");
        };
        run(&["venv", "--python", "python3", &self.prefix]);
        for (file, bytes) in wheels {
            let path = files.join(file);
            fs::write(&path, bytes).expect("written");
            let path = path.to_str().expect("UTF-8");
            let python = format!("{}/bin/python", self.prefix);
            run(&["pip", "install", "--no-deps", "--no-compile", "--link-mode", "copy", "--python", &python, path]);
        }
        fs::rename(&self.prefix, &away).expect("moved");
        away
    }
}

fn real_wheels() -> Vec<(String, Vec<u8>)> {
    let wheel = |requirement: &&str| {
        let path = real(requirement);
        let file = path.file_name().expect("a file").to_str().expect("UTF-8").to_owned();
        (file, fs::read(&path).expect("readable"))
    };
    REAL.iter().map(wheel).collect()
}

fn made_wheel(entries: Vec<Entry>) -> (String, Vec<u8>) {
    (FILE.to_owned(), made(entries).bytes())
}

/// What both trees have, but for the skeleton and the installer's own marks. RECORD
/// is sorted and freed of the lines about those marks.
fn comparable(root: &Path) -> Vec<(String, venv::Node)> {
    let marks = ["INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json"];
    let own = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        let skeleton = matches!(path, ".gitignore" | ".lock" | "CACHEDIR.TAG" | "pyvenv.cfg" | "include")
            || path.strip_prefix("bin/").is_some_and(|name| {
                name.starts_with("activate") || name.starts_with("python") || name.ends_with(".bat")
            });
        skeleton || (path.contains(".dist-info/") && marks.contains(&name))
    };
    let nodes = venv::tree(root).into_iter().filter(|(path, _)| !own(path));
    nodes
        .map(|(path, mut node)| {
            if path.ends_with(".dist-info/RECORD") {
                let text = String::from_utf8(node.content).expect("text");
                let about_mark = |line: &&str| marks.iter().any(|mark| line.contains(&format!(".dist-info/{mark},")));
                let mut lines: Vec<&str> = text.lines().filter(|line| !about_mark(line)).collect();
                lines.sort_unstable();
                node.content = lines.join("\n").into_bytes();
            }
            (path, node)
        })
        .collect()
}

fn assert_same(ours: &Path, theirs: &Path) {
    let (ours, theirs) = (comparable(ours), comparable(theirs));
    for (one, other) in ours.iter().zip(&theirs) {
        assert_eq!(one, other);
    }
    assert_eq!(ours.len(), theirs.len());
}

/// Every line of every RECORD against what lies there, as `importlib.metadata` reads it.
const VERIFY: &str = r#"
import base64, hashlib, importlib.metadata, os
seen = 0
for distribution in importlib.metadata.distributions():
    for file in distribution.files:
        path = file.locate()
        assert os.path.exists(path), path
        if file.hash:
            content = open(path, 'rb').read()
            digest = hashlib.new(file.hash.mode, content).digest()
            assert base64.urlsafe_b64encode(digest).rstrip(b'=').decode() == file.hash.value, path
            assert file.size == len(content), path
            seen += 1
        else:
            assert str(file).endswith('.dist-info/RECORD'), path
print(seen)
"#;

#[test]
fn a_venv_of_real_wheels_is_the_one_that_uv_makes() {
    let (place, wheels) = (Place::new(), real_wheels());
    let theirs = place.by_uv(&wheels);
    let layers = place.build(&wheels);
    assert_eq!(layers.len(), 3, "a skeleton, a wheel of its own, a bin");
    assert_same(Path::new(&place.prefix), &theirs);

    let verified: usize = place.python(VERIFY).trim().parse().expect("a number");
    assert!(verified > 1000, "{verified}");
    let mut check = Command::new(uv());
    output(check.args(["pip", "check", "--python"]).arg(format!("{}/bin/python", place.prefix)), "python3");

    assert_eq!(place.python("import sys; print(sys.prefix)").trim(), place.prefix);
    assert_eq!(place.python("import numpy; print(numpy.arange(4).sum())").trim(), "6");
    for script in ["tqdm", "ruff", &format!("pip{}", python()), "f2py"] {
        output(Command::new(format!("{}/bin/{script}", place.prefix)).arg("--version"), script);
    }
    output(Command::new(format!("{}/bin/jp.py", place.prefix)).arg("--help"), "jp.py");
}

#[test]
fn unusual_but_legal_zips_and_schemes_install_as_uv_installs_them() {
    let place = Place::new();
    let module = b"def main():\n    print('hello')\nclass C:\n    main = staticmethod(main)\n";
    let entry_points = "# c\n[console_scripts]\nmade = made:main [extra, other]\ndotted=made:C.main\n\n[gui_scripts]\nmade-gui = made : main\n\
                        [other]\nx = y\n";
    let wheels = [made_wheel(vec![
        Entry::new("made/", b"").but(|e| (e.method, e.mode) = (0, 0o040_755)),
        Entry::new("made/__init__.py", module),
        Entry::new("made/empty.txt", b""),
        Entry::new("made/stored.bin", &[7; 3000]).but(|e| e.method = 0),
        Entry::new("made/stored-empty", b"").but(|e| e.method = 0),
        Entry::new("made/described.txt", b"described ".repeat(50).as_slice()).but(|e| e.descriptor = true),
        Entry::new("made/zip64.txt", b"zip64 ".repeat(50).as_slice()).but(|e| e.zip64 = true),
        Entry::new("made/ünïcode, \"quoted\".txt", b"u"),
        Entry::new("made/tool.sh", b"#!/bin/sh\n").but(|e| e.mode = 0o100_755),
        Entry::new("made-1.0.dist-info/entry_points.txt", entry_points.as_bytes()),
        Entry::new("made-1.0.data/scripts/plain", b"#!python -E\nprint('plain')\n"),
        Entry::new("made-1.0.data/scripts/bare", b"#!python"),
        Entry::new("made-1.0.data/scripts/lines", b"#!python\r\nprint('lines')\r\n"),
        Entry::new("made-1.0.data/scripts/window", b"#!pythonw\nprint('window')\n"),
        Entry::new("made-1.0.data/scripts/shell", b"#!/bin/sh\necho shell\n"),
        Entry::new("made-1.0.data/headers/made.h", b"int made;\n"),
        Entry::new("made-1.0.data/purelib/pure.py", b"pure = 1\n"),
        Entry::new("made-1.0.data/platlib/plat/x.py", b"plat = 1\n"),
        Entry::new("made-1.0.data/data/share/made/data.txt", b"data\n"),
    ])];
    let theirs = place.by_uv(&wheels);
    place.build(&wheels);
    assert_same(Path::new(&place.prefix), &theirs);
    place.python(VERIFY);
    for (script, says) in
        [("made", "hello"), ("dotted", "hello"), ("made-gui", "hello"), ("plain", "plain"), ("window", "window")]
    {
        let ran = output(&mut Command::new(format!("{}/bin/{script}", place.prefix)), script);
        assert_eq!(String::from_utf8_lossy(&ran.stdout).trim(), says, "{script}");
    }
}

#[test]
fn a_zip_may_begin_after_other_data() {
    let place = Place::new();
    let mut zip = made(vec![Entry::new("made.py", b"x = 1\n")]);
    zip.prefix = b"#!/bin/sh\nexit 1\n".to_vec();
    place.build(&[(FILE.to_owned(), zip.bytes())]);
    assert_eq!(place.python("import made; print(made.x)").trim(), "1");
}

#[test]
fn a_zip_may_end_as_zip64() {
    let place = Place::new();
    let zip = Zip { zip64: true, ..made(vec![Entry::new("made.py", b"x = 1\n")]) };
    let wheels = [(FILE.to_owned(), zip.bytes())];
    let theirs = place.by_uv(&wheels);
    place.build(&wheels);
    assert_same(Path::new(&place.prefix), &theirs);
}

#[test]
fn a_venv_whose_path_is_long_or_has_a_space_has_scripts_that_start() {
    for name in ["a long name ".repeat(2), "x".repeat(120)] {
        let mut place = Place::new();
        place.prefix = format!("{}/{name}/venv", place.directory.path().display());
        let wheels = [made_wheel(vec![
            Entry::new("made.py", b"def main():\n    print('hello')\n"),
            Entry::new("made-1.0.data/scripts/plain", b"#!python\nprint('hello')\n"),
            Entry::new("made-1.0.dist-info/entry_points.txt", b"[console_scripts]\nmade = made:main\n"),
        ])];
        let theirs = place.by_uv(&wheels);
        place.build(&wheels);
        assert_same(Path::new(&place.prefix), &theirs);
        for script in ["made", "plain"] {
            let ran = output(&mut Command::new(format!("{}/bin/{script}", place.prefix)), script);
            assert_eq!(ran.stdout, b"hello\n");
        }
    }
}

#[test]
fn a_wheel_layer_depends_on_wheels_path_and_python_alone() {
    let place = Place::new();
    let bytes = made(vec![Entry::new("made.py", b"x = 1\n")]).bytes();
    let other = made(vec![Entry::new("made.py", b"x = 2\n")]).bytes();
    let one = venv::locked(&place.store, FILE, &bytes, Some(0));
    let two = venv::locked(&place.store, "made-1.0-1-py3-none-any.whl", &other, Some(0));
    let key = |path: &str, wheels| {
        let changesets = changesets(&venv::recipe(path), &venv::venv(wheels), std::path::Path::new("."), &place.store)
            .expect("changesets");
        changesets.last().expect("wheels").changeset.inputs().key(None)
    };
    let first = key("/opt/venv", vec![one.clone(), two.clone()]);
    assert_eq!(first, key("/opt/venv", vec![two.clone(), one.clone()]), "order");
    let mut elsewhere = one.clone();
    (elsewhere.index, elsewhere.bin) = ("local:made.whl".into(), Some(3));
    assert_eq!(key("/opt/venv", vec![one.clone()]), key("/opt/venv", vec![elsewhere]), "index and bin");
    assert_ne!(first, key("/opt/venv", vec![one.clone()]), "wheels");
    assert_ne!(first, key("/srv/venv", vec![one, two]), "path");
}

#[test]
fn the_venv_comes_first_in_path_once() {
    let place = Place::new();
    let changesets =
        changesets(&venv::recipe("/opt/venv"), &venv::venv(Vec::new()), std::path::Path::new("."), &place.store)
            .expect("changesets");
    let mut config = ImageConfig::default();
    for _ in 0..2 {
        changesets.iter().for_each(|layer| layer.changeset.configure(&mut config));
    }
    let path = "/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(config.config.env("PATH"), Some(path));
    assert_eq!(config.config.env("VIRTUAL_ENV"), Some("/opt/venv"));
}

/// Activates twice, says what `python` and the venv are, and goes back.
const ACTIVATIONS: [(&str, &str, &str); 4] = [
    ("sh", "dash", SH),
    ("bash", "bash", SH),
    (
        "tcsh",
        "tcsh",
        "set before = \"$PATH\"\nsource PREFIX/bin/activate.csh\nsource PREFIX/bin/activate.csh\nwhich python\n\
         echo $VIRTUAL_ENV\ndeactivate\nif (\"$PATH\" == \"$before\" && ! $?VIRTUAL_ENV) echo restored\n",
    ),
    (
        "fish",
        "fish",
        "set before (string join : $PATH)\nsource PREFIX/bin/activate.fish\nsource PREFIX/bin/activate.fish\n\
         command -v python\necho $VIRTUAL_ENV\ndeactivate\n\
         test (string join : $PATH) = $before; and not set -q VIRTUAL_ENV; and echo restored\n",
    ),
];
const SH: &str = "set -eu\nbefore=$PATH\n. PREFIX/bin/activate\n. PREFIX/bin/activate\ncommand -v python\n\
                  echo \"$VIRTUAL_ENV\"\ndeactivate\n\
                  [ \"$PATH\" = \"$before\" ] && [ -z \"${VIRTUAL_ENV-}\" ] && echo restored\n";

#[test]
fn activation_scripts_set_and_restore_the_environment() {
    let place = Place::new();
    place.build(&[]);
    for (shell, package, script) in ACTIVATIONS {
        let file = place.directory.path().join(shell);
        fs::write(&file, script.replace("PREFIX", &place.prefix)).expect("written");
        let mut command = Command::new(shell);
        let ran = output(command.arg(&file).env_remove("VIRTUAL_ENV").env("HOME", place.directory.path()), package);
        let expected = format!("{0}/bin/python\n{0}\nrestored\n", place.prefix);
        assert_eq!(String::from_utf8_lossy(&ran.stdout), expected, "{shell}");
    }
}

#[test]
fn what_a_wheel_brings_is_told_from_its_end() {
    let place = Place::new();
    let wheels = real_wheels();
    for (file, bytes) in &wheels {
        let scheme = Scheme::new(&place.prefix, python().parse().expect("a version"));
        let wheel = Wheel::open(bytes.as_slice(), bytes.len() as u64, file).expect("a wheel");
        let listed = install::listing(&wheel, &scheme).expect("a listing");
        let installed = install::Installed::of(&wheel, &scheme).expect("installed");
        let own = |path: &str| path.ends_with(".dist-info/RECORD") || path.ends_with(".dist-info/INSTALLER");
        let paths: Vec<&str> = installed.files().iter().map(|f| f.path.as_str()).filter(|path| !own(path)).collect();
        assert_eq!(listed.iter().map(|listed| listed.path.as_str()).collect::<Vec<_>>(), paths, "{file}");
    }
}

#[test]
fn a_shared_file_is_written_once_and_a_different_one_must_be_left_out() {
    let place = Place::new();
    let shared = |content: &[u8]| Entry::new("ns/__init__.py", content);
    let second = |content: &[u8]| {
        let mut zip = made(vec![shared(content), Entry::new("ns/two.py", b"")]);
        for entry in &mut zip.entries {
            entry.name = String::from_utf8(entry.name.clone()).expect("text").replace("made-1.0", "other-2.0").into();
            entry.content =
                String::from_utf8(entry.content.clone()).expect("text").replace("made-1.0", "other-2.0").into();
        }
        zip.bytes()
    };
    let one = venv::locked(&place.store, FILE, &made(vec![shared(b""), Entry::new("ns/one.py", b"")]).bytes(), Some(0));
    let same = venv::locked(&place.store, "other-2.0-py3-none-any.whl", &second(b""), Some(0));
    let differs = venv::locked(&place.store, "other-2.0-py3-none-any.whl", &second(b"# other\n"), Some(0));
    let build = |wheels| {
        let changesets =
            changesets(&venv::recipe(&place.prefix), &venv::venv(wheels), std::path::Path::new("."), &place.store)
                .expect("some");
        venv::write(&place.store, changesets.last().expect("wheels").changeset.as_ref())
    };
    build(vec![one.clone(), same]).expect("equal bytes are one file");
    let error = build(vec![one.clone(), differs.clone()]).expect_err("different bytes").to_string();
    let path = format!("lib/python{}/site-packages/ns/__init__.py", python());
    assert!(error.contains("both bring") && error.contains(&path), "{error}");
    let without = dlpack::lock::LockedWheel { without: vec![path], ..differs };
    build(vec![one, without]).expect("the lock says which is left out");
}
