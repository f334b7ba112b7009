//! `bytecode = true`: pycs that Python takes without a look at their source, the same
//! bytes wherever they were made, in layers that follow the wheels' bins.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;

use super::from_source::{damage_downloads, python};
use super::support::command::Dlpack;
use super::support::image::debian;

fn world(requirements: &[&str], keys: &str) -> Dlpack {
    let dlpack = Dlpack::unprivileged_on(&debian());
    write(&dlpack, requirements, keys);
    dlpack
}

fn write(dlpack: &Dlpack, requirements: &[&str], keys: &str) {
    let version = super::support::wheel::python();
    let head = "base = { layout = \"base\", tag = \"gzip\" }\n[[layer]]\nkind = \"venv\"\nbytecode = true";
    dlpack.write("dlpack.toml", &format!("{head}\npython = \"{version}\"\nrequirements = {requirements:?}\n{keys}\n"));
}

/// Path, mode, owner and content of the entries of a layer.
type Entries = BTreeMap<String, (u32, u64, Vec<u8>)>;

fn entries(dlpack: &Dlpack, layer: &str) -> Entries {
    let blob = flate2::read::MultiGzDecoder::new(fs::File::open(dlpack.blob(layer)).expect("a blob"));
    let mut archive = tar::Archive::new(blob);
    let entries = archive.entries().expect("a tar").map(|entry| {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").to_string_lossy().trim_end_matches('/').to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("a content");
        (path, (entry.header().mode().expect("a mode"), entry.header().uid().expect("an owner"), content))
    });
    entries.collect()
}

const SITE: &str = "lib/python3.11/site-packages";

#[test]
fn python_takes_the_bytecode_without_looking_at_the_source_and_writes_none() {
    let dlpack = world(&["six==1.17.0", "tqdm==4.66.5"], "");
    let digest = dlpack.ok(["build"]);
    let site = SITE.replace("3.11", super::support::wheel::python());
    let mut all = BTreeMap::new();
    dlpack.layers_of(&digest)[1..].iter().for_each(|layer| all.extend(entries(&dlpack, layer)));
    let pycs: Vec<_> = all.iter().filter(|(path, _)| path.ends_with(".pyc")).collect();
    let modules = all.keys().filter(|path| path.contains("site-packages") && path.ends_with(".py")).count();
    assert_eq!(pycs.len(), modules, "one for each module");
    for (path, (mode, uid, content)) in pycs {
        assert_eq!((*mode, *uid), (0o644, 0), "{path}");
        // PEP 552: "If the bit is set, … the check_source flag": hash-based, unchecked.
        assert_eq!(content[4..8], [1, 0, 0, 0], "{path}");
    }
    let program = format!(
        "import os, sys, six, tqdm\n\
         taken = {{m.__cached__ for m in list(sys.modules.values()) if '{site}' in (getattr(m, '__file__', '') or '')}}\n\
         assert taken and all(os.path.getmtime(path) == 315532800 for path in taken), taken\n\
         print(six.add_metaclass.__code__.co_filename)\n\
         with open(six.__file__, 'w') as out: out.write('raise SystemExit(\"the source was read\")')\n\
         print(os.spawnv(os.P_WAIT, sys.executable, [sys.executable, '-c', 'import six']))"
    );
    assert_eq!(python(&dlpack, &digest, &program), format!("/opt/venv/{site}/six.py\n0"));
}

#[test]
fn the_bytes_are_the_same_on_one_cpu_and_on_all_and_in_another_directory() {
    let requirements = ["jinja2==3.1.6", "tqdm==4.66.5", "attrs==25.3.0"];
    let dlpack = world(&requirements, "");
    let digest = dlpack.ok(["build"]);
    let other = world(&requirements, "");
    fs::copy(dlpack.work().join("dlpack.lock"), other.work().join("dlpack.lock")).expect("copied");
    let ran = other.command_in(&["taskset", "-c", "0"], ["build", "--jobs", "1"]).output().expect("it runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(String::from_utf8_lossy(&ran.stdout).trim(), digest);
}

#[test]
fn a_modules_bytecode_does_not_depend_on_what_else_is_compiled_and_one_package_changes_one_layer() {
    let dlpack = world(&["jinja2==3.1.5", "tqdm==4.66.5", "attrs==25.3.0", "six==1.17.0"], "");
    let before = dlpack.ok(["build"]);
    write(&dlpack, &["jinja2==3.1.6", "tqdm==4.66.5", "attrs==25.3.0", "six==1.17.0"], "");
    dlpack.ok(["lock"]);
    let after = dlpack.ok(["build"]);
    let bytecode = |digest: &str| -> Vec<Entries> {
        let layers = dlpack.layers_of(digest);
        let layers = layers[1..].iter().map(|layer| entries(&dlpack, layer));
        layers.filter(|entries| entries.keys().any(|path| path.ends_with(".pyc"))).collect()
    };
    let (before, after) = (bytecode(&before), bytecode(&after));
    assert_eq!(before.iter().filter(|layer| !after.contains(layer)).count(), 1);
    // All together in one layer of another venv, each file is the same.
    let whole: BTreeMap<_, _> = after.into_iter().flatten().collect();
    let alone = world(&["tqdm==4.66.5"], "");
    let digest = alone.ok(["build"]);
    let layer = alone.layers_of(&digest).pop().expect("a layer");
    for (path, entry) in entries(&alone, &layer).iter().filter(|(path, _)| path.ends_with(".pyc")) {
        assert_eq!(whole.get(path), Some(entry), "{path}");
    }
}

#[test]
fn a_wheel_that_is_damaged_in_the_store_is_fetched_anew_for_its_bytecode() {
    let dlpack = world(&["six==1.17.0"], "");
    let digest = dlpack.ok(["build"]);
    let layer = dlpack.layers_of(&digest).pop().expect("a layer");
    assert!(entries(&dlpack, &layer).keys().any(|path| path.ends_with(".pyc")));
    damage_downloads(&dlpack);
    // the wheel's own layer is known
    for record in walkdir::WalkDir::new(dlpack.store().join("keys")) {
        let record = record.expect("an entry");
        if record.file_type().is_file() && fs::read_to_string(record.path()).expect("text").contains(&layer) {
            fs::remove_file(record.path()).expect("removed");
        }
    }
    let again = dlpack.json(["build"]);
    assert_eq!((again["built"].as_u64(), again["digest"].as_str()), (Some(1), Some(&*digest)));
}

#[test]
fn a_module_that_does_not_compile_has_no_bytecode_and_is_no_error() {
    use super::support::wheel::{Entry, FILE, made};
    let dlpack = world(&[], "wheels = [\"made-1.0-py3-none-any.whl\"]");
    assert_eq!(FILE, "made-1.0-py3-none-any.whl");
    let wheel = made(vec![
        Entry::new("made/__init__.py", b"fine = 1\n"),
        Entry::new("made/old.py", b"print 'Python 2'\n"),
        Entry::new("made/deep.py", format!("x = {}1{}\n", "(".repeat(5000), ")".repeat(5000)).as_bytes()),
        Entry::new("made/coded.py", b"# coding: nonesuch\n"),
        Entry::new("made/null.py", b"x = 1\0\n"),
    ]);
    fs::write(dlpack.work().join(FILE), wheel.bytes()).expect("written");
    let digest = dlpack.ok(["build"]);
    let layer = dlpack.layers_of(&digest).pop().expect("a layer");
    let found: Vec<String> = entries(&dlpack, &layer).into_keys().filter(|path| path.ends_with(".pyc")).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("made/__pycache__/__init__.cpython-"), "{found:?}");
}

#[test]
fn plan_names_the_layers_and_what_is_built_from_source_has_its_bytecode_in_its_own() {
    let dlpack = world(&["docopt==0.6.2", "six==1.17.0"], "");
    let digest = dlpack.ok(["build"]);
    let plan = dlpack.ok(["plan"]);
    assert!(plan.contains("bytecode of six 1.17.0") && !plan.contains("bytecode of docopt"), "{plan}");
    let layers = dlpack.layers_of(&digest);
    let with = |name: &str| {
        layers[1..].iter().filter(|layer| entries(&dlpack, layer).keys().any(|path| path.contains(name))).count()
    };
    assert_eq!((with("__pycache__/docopt.cpython"), with("__pycache__/six.cpython")), (1, 1));
    assert_eq!((with("site-packages/docopt.py"), with("site-packages/six.py")), (1, 1));
}
