//! Packages for an account on top of the base's Python, and the shipped recipe that has them: on a
//! base of the name that it has, by an ordinary user.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::command::Dlpack;
use crate::support::image::{Form, Image, Layout, Packing, Tar};
use crate::support::machine::{Machine, UUIDS};
use crate::support::registry::DebianRegistry;
use crate::support::sandbox::UID;
use crate::support::shown::Shown;
use crate::support::{output, rootfs, wheel};

/// What the recipe is made on.
const BASE: &str = "nvidia/pytorch:22.10-py3";

/// What the base's Python has: as NGC's images have it, one wheel of NVIDIA's own with a local
/// version.
const PRESENT: [(&str, &str, &str); 3] = [
    ("torch", "1.13.0a0+d0d6b1f", ""),
    ("numpy", "1.22.2", ""),
    ("seaborn", "0.12.0", "Provides-Extra: six\nRequires-Dist: six ; extra == 'six'\n"),
];

/// Where NGC's images have their Python.
const CONDA: &str = "opt/conda";

/// A layer with the Python `version` where NGC's images have theirs: the program that `python` is, and
/// distributions in its own site-packages. Another Python's, of the same version, are beside it.
fn conda(version: &str, python: &[u8]) -> Tar {
    let root = format!("{CONDA}/lib/python{version}/site-packages");
    let other = format!("usr/local/lib/python{version}/dist-packages/tqdm-4.0.dist-info/METADATA");
    let tar = Tar::new()
        .owned_file(&format!("{CONDA}/bin/python{version}"), 0o755, (0, 0), python)
        .symlink(&format!("{CONDA}/bin/python3"), &format!("python{version}"))
        .file(&other, "Metadata-Version: 2.1\nName: tqdm\nVersion: 4.0\n");
    PRESENT.iter().fold(tar, |tar, (name, number, more)| {
        let metadata =
            format!("Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n{more}\nRequires-Dist: nothing\n");
        tar.file(&format!("{root}/{name}/__init__.py"), format!("__version__ = '{number}'\n"))
            .file(&format!("{root}/{name}-{number}.dist-info/METADATA"), metadata)
    })
}

/// A registry that stands for nvcr.io, with an image on `image` that has `more`, and a user who builds.
fn world(image: impl FnOnce(&Layout) -> Image<'_>, more: Tar) -> (DebianRegistry, Dlpack) {
    let (registry, directory) = (DebianRegistry::start(), tempfile::tempdir().expect("a directory"));
    let layout = Layout::create(directory.path().join("layout"));
    image(&layout).layer(Packing::Gzip, more).tagged("base");
    layout.push("base", &registry, BASE, Form::Oci);
    let dlpack = Dlpack::unprivileged();
    let address = registry.address();
    let mirror =
        |prefix: &str| format!("[[registry]]\nprefix = \"{prefix}\"\nlocation = \"{address}\"\ninsecure = true\n");
    fs::write(dlpack.registries_conf(), mirror("nvcr.io") + &mirror(address)).expect("written");
    (registry, dlpack)
}

/// `image` with NGC's PATH.
fn with_conda(image: Image<'_>) -> Image<'_> {
    let path = format!("/{CONDA}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    image.config(|config| config["config"]["Env"] = json!([format!("PATH={path}")]))
}

fn image(layout: &Layout, tar: PathBuf) -> Image<'_> {
    layout.image().layer_from(Packing::Plain, File::open(tar).expect("opened"))
}

/// The recipe without what takes minutes, for a Python of Debian's version in place of 3.8.
fn flavour() -> String {
    let version = wheel::python();
    let python = format!("python = \"{version}\"\ninterpreter = \"/{CONDA}/bin/python{version}\"\n");
    format!("extends = \"ngc-pytorch\"\ndrop = [\"apt\"]\n[[layer]]\nname = \"python\"\n{python}")
}

/// A Python that runs from there, with Debian's standard library.
fn running(version: &str) -> Tar {
    let python = fs::read(format!("/usr/bin/python{version}")).expect("Debian's Python");
    // site: a prefix of its own, on top of which packages for an account count as on top of any
    let settings = "home = /usr/bin\ninclude-system-site-packages = true\n";
    conda(version, &python).file(&format!("{CONDA}/pyvenv.cfg"), settings)
}

fn lock_of(dlpack: &Dlpack) -> toml::Table {
    fs::read_to_string(dlpack.work().join("dlpack.lock")).expect("a lock").parse().expect("TOML")
}

/// The locked packages.
fn packages(lock: &toml::Table) -> &toml::Table {
    let layers = lock["layer"].as_array().expect("layers");
    let venv = layers.iter().find(|layer| layer["kind"].as_str() == Some("venv"));
    venv.expect("packages").as_table().expect("a table")
}

#[test]
fn a_project_is_at_home_in_an_image_of_ngc() {
    let (_registry, dlpack) = world(|layout| with_conda(image(layout, rootfs::tar())), running(wheel::python()));
    dlpack.write("dlpack.toml", &flavour());
    dlpack.write("requirements.txt", "torch>=1.12\nnumpy\nseaborn[six]\ntqdm==4.66.5\n");
    for directory in ["datasets", "data"] {
        fs::create_dir(dlpack.home().join(directory)).expect("created");
        fs::write(dlpack.home().join(directory).join("file"), format!("my {directory}\n")).expect("written");
    }
    let digest = dlpack.ok(["build"]);
    let lock = lock_of(&dlpack);
    let (python, names) = (packages(&lock), |list: &toml::Value| {
        let named = |one: &toml::Value| {
            format!("{} {}", one["name"].as_str().expect("a name"), one["version"].as_str().expect("a version"))
        };
        list.as_array().expect("a list").iter().map(named).collect::<Vec<_>>()
    });
    let wheels = names(&python["wheel"]);
    assert!(wheels.len() == 2 && wheels[0].starts_with("six ") && wheels[1] == "tqdm 4.66.5", "{wheels:?}");
    assert_eq!(names(&python["user"]["present"]), ["numpy 1.22.2", "seaborn 0.12.0", "torch 1.13.0a0+d0d6b1f"]);

    let config = &dlpack.config_of(&digest)["config"];
    let variables: Vec<&str> = config["Env"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    for variable in ["PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1", "TORCH_HOME=/app/.cache"] {
        assert!(variables.contains(&variable), "{variables:?}");
    }
    assert_eq!((config["WorkingDir"].as_str(), config["User"].as_str()), (Some("/app"), Some("dev")));

    let version = wheel::python();
    let script = "import numpy, six, torch, tqdm; print(tqdm.__file__, numpy.__version__, torch.__file__)";
    let machine = Machine::with_driver();
    let imported = said(on(&dlpack, &machine, &["run", "--quiet", "--", "python3", "-c", script]), "");
    let site = format!("/home/dev/.local/lib/python{version}/site-packages");
    let base = format!("/{CONDA}/lib/python{version}/site-packages");
    assert_eq!(imported, format!("{site}/tqdm/__init__.py 1.22.2 {base}/torch/__init__.py\n"));
    let say = "command -v tqdm; head -n 1 $(command -v tqdm); id -un; pwd; cat requirements.txt | tail -n 1; cat /data/file /datasets/file; \
               df /dev/shm | grep -c ' 16777216 '; stat -c %U ~/.local/bin ~/.local; nvidia-smi --query-gpu=uuid; echo x >/app/made";
    let expected = format!(
        "/home/dev/.local/bin/tqdm\n#!/{CONDA}/bin/python{version}\ndev\n/app\ntqdm==4.66.5\nmy data\nmy datasets\n1\ndev\ndev\n{}\n",
        UUIDS.join("\n")
    );
    assert_eq!(said(on(&dlpack, &machine, &["shell", "--quiet"]), say), expected);
    assert_eq!(fs::read_to_string(dlpack.work().join("made")).expect("it is the project's"), "x\n");
    let root = "id -u; stat -c %u:%g /home/dev /home/dev/.local/bin/tqdm; grep ^dev: /etc/passwd /etc/group";
    let owner = format!("{UID}:{UID}");
    let expected =
        format!("0\n{owner}\n{owner}\n/etc/passwd:dev:x:{owner}::/home/dev:/bin/bash\n/etc/group:dev:x:{UID}:\n");
    assert_eq!(said(on(&dlpack, &machine, &["shell", "--quiet", "--root"]), root), expected);
}

/// `dlpack ARGUMENTS` on `machine`.
fn on(dlpack: &Dlpack, machine: &Machine, arguments: &[&str]) -> Command {
    let mut command = dlpack.command(arguments);
    command.env("DLPACK_DRIVER_ROOT", machine.root());
    command
}

/// What a command says that is typed `script`.
fn said(mut command: Command, script: &str) -> String {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(script.as_bytes()).expect("written");
    String::from_utf8(child.wait_with_output().expect("waited").stdout).expect("UTF-8")
}

#[test]
fn a_gid_of_the_base_gets_no_second_group_and_its_packages_no_other_version() {
    let version = wheel::python();
    let group = format!("root:x:0:\nstaff:x:50:\ncluster:x:{UID}:\n");
    let more = conda(version, b"").file("etc/group", &group);
    let (registry, dlpack) = world(|layout| layout.image(), more);
    dlpack.write("dlpack.toml", &flavour().replace("[\"apt\"]", "[\"apt\"]\n[test]\ncommands = []\n"));
    dlpack.write("requirements.txt", "numpy>=1.20\n");
    let digest = dlpack.ok(["build", "--no-test"]);
    let entries = |path: &str| crate::steps::entries(&dlpack, &digest).into_iter().find(|entry| entry.0 == path);
    assert_eq!(entries("etc/group"), None, "nothing of it lies over the packages");
    let lock = lock_of(&dlpack);
    assert!(packages(&lock).get("wheel").is_none_or(|wheels| wheels.as_array().is_some_and(Vec::is_empty)));
    // an editor completes what the base has, too, unless that is not wanted
    let told = dlpack.json(["export", "venv", "--no-base"]);
    assert_eq!(told["left_out"][0]["name"], "numpy 1.22.2", "{told}");
    assert_eq!(told["packages"], 0);
    dlpack.write(".venv/mine", "mine");
    let told = dlpack.json(["export", "venv"]);
    assert_eq!((&told["packages"], &told["left_out"]), (&json!(3), &json!([])), "{told}");
    let said = Command::new(dlpack.work().join(".venv/bin/python"));
    let torch = "import numpy, torch; print(numpy.__version__, torch.__file__)";
    let said = output({ said }.args(["-c", torch]), "python3").stdout;
    let site = dlpack.work().join(format!(".venv/lib/python{version}/site-packages"));
    assert_eq!(String::from_utf8_lossy(&said), format!("1.22.2 {}/torch/__init__.py\n", site.display()));
    let gid = lock["layer"].as_array().expect("layers")[0]["gid"].as_integer();
    assert_eq!(gid, Some(i64::from(UID)));

    let mut shown = Shown::new();
    shown.replace(dlpack.home().display().to_string(), "HOME");
    shown.replace(registry.address(), "REGISTRY");
    let (name, other) = (registry.reference("team/env:1"), registry.reference("other:1"));
    dlpack.ok(["push", "--no-test", "--quiet", &name]);
    let directory = tempfile::tempdir().expect("a directory");
    let layout = Layout::create(directory.path().join("layout"));
    let without = Tar::new().file("etc/group", &group).file(&format!("{CONDA}/bin/python{version}"), "");
    layout.image().layer(Packing::Gzip, without).tagged("other");
    layout.push("other", &registry, "other:1", Form::Oci);
    shown.run("a base without it", &mut dlpack.command(["rebase", "--quiet", &name, "--onto", &other]));
    dlpack.write("requirements.txt", "numpy>=1.23\n");
    shown.run("another version", &mut dlpack.command(["lock", "--quiet"]));
    for (case, from, to) in [
        ("an interpreter that the base has elsewhere", "/opt/conda/bin", "/usr/bin"),
        (
            "an account that is not there",
            "[[layer]]",
            "[[layer]]\nkind = \"venv\"\nname = \"other\"\nuser = \"nobody\"\npython = \"3.8\"\n[[layer]]",
        ),
        (
            "a path besides",
            "[[layer]]",
            "[[layer]]\nkind = \"venv\"\nname = \"other\"\nuser = \"dev\"\npath = \"/opt\"\npython = \"3.8\"\n[[layer]]",
        ),
        (
            "the same account twice",
            "[[layer]]",
            "[[layer]]\nkind = \"venv\"\nname = \"other\"\nuser = \"dev\"\npython = \"3.8\"\n[[layer]]",
        ),
    ] {
        let recipe = fs::read_to_string(dlpack.work().join("dlpack.toml")).expect("a recipe");
        dlpack.edit("dlpack.toml", from, to);
        shown.run(case, &mut dlpack.command(["lock", "--quiet"]));
        dlpack.write("dlpack.toml", &recipe);
    }
    shown.is("recipes/user_site");
}

#[test]
fn the_recipe_is_locked_and_planned_whole() {
    let more = conda("3.8", b"");
    let (_registry, dlpack) = world(|layout| image(layout, rootfs::with_apt()), more);
    dlpack.write("requirements.txt", "torch\ntqdm==4.66.5\n");
    dlpack.ok(["lock", "-r", "ngc-pytorch"]);
    let plan = dlpack.json(["plan", "-r", "ngc-pytorch"]);
    let kinds: Vec<&str> = plan["layers"]
        .as_array()
        .expect("layers")
        .iter()
        .map(|layer| layer["kind"].as_str().expect("a kind"))
        .collect();
    assert_eq!(kinds, ["apt", "account", "user-base", "wheels"]);
    let debs = plan["layers"][0]["contents"].as_array().expect("contents");
    assert!(debs.iter().any(|deb| deb["name"].as_str().is_some_and(|name| name.starts_with("libgl1-mesa-dev "))));

    // installed, with one of those 65 packages in their stead, which are minutes
    dlpack.write(
        "dlpack.toml",
        "extends = \"ngc-pytorch\"\n[[layer]]\nname = \"apt\"\nkind = \"apt\"\npackages = [\"libglvnd0\"]\n",
    );
    let digest = dlpack.ok(["build", "--no-test"]);
    let blobs = dlpack.layers_of(&digest).into_iter().map(|layer| dlpack.blob(&layer)).filter(|blob| blob.exists());
    let paths: Vec<String> = blobs.flat_map(|blob| names_in(&blob)).collect();
    for path in ["libGLdispatch.so.0", "var/lib/dpkg/info/libglvnd0", "python3.8/site-packages/tqdm/__init__.py"] {
        assert!(paths.iter().any(|found| found.contains(path)), "no {path}");
    }
    let config = &dlpack.config_of(&digest)["config"];
    assert_eq!((config["WorkingDir"].as_str(), config["User"].as_str()), (Some("/app"), Some("dev")));
}

/// The paths in a layer's blob.
fn names_in(blob: &Path) -> Vec<String> {
    let listed = output(Command::new("tar").arg("-tzf").arg(blob), "tar");
    String::from_utf8(listed.stdout).expect("UTF-8").lines().map(str::to_owned).collect()
}
