//! The small layers: what they write, what their keys are made of, and what a build
//! says when a file is not what it was.

use std::fs;
use std::path::Path;
use std::process::Command;

use dlpack::changeset::{Changeset, apt, entrypoint, files, jupyter, sshd, timezone};
use dlpack::lock::{FileKind, LockedFile, LockedLayer};
use dlpack::oci::{ChainId, Digest, ImageConfig};
use dlpack::recipe::{Layer, LayerKind, Recipe};
use dlpack::store::Store;

use crate::support::output;
use crate::support::payload::{entries_of, entry, lock, recipe, tar_of};

fn with_layers(text: &str) -> Recipe {
    recipe(&format!("base = \"scratch\"\n{text}"))
}

/// The sshd, jupyter and entrypoint changesets of a recipe.
fn services(recipe: &Recipe) -> Vec<Box<dyn Changeset>> {
    let service = |layer: &Layer| -> Option<Box<dyn Changeset>> {
        match &layer.kind {
            LayerKind::Sshd(sshd) => Some(Box::new(sshd::changeset(sshd, &recipe.config))),
            LayerKind::Jupyter(jupyter) => Some(Box::new(jupyter::changeset(jupyter, recipe))),
            _ => None,
        }
    };
    let entrypoint = entrypoint::changeset(recipe).map(|entrypoint| Box::new(entrypoint) as Box<dyn Changeset>);
    recipe.layers.iter().filter_map(service).chain(entrypoint).collect()
}

fn locked(from: &str, to: &str, kind: FileKind, content: &[u8]) -> LockedFile {
    let (sha256, size) = (Digest::of(content), content.len() as u64);
    LockedFile { from: from.into(), to: to.into(), kind, mode: 0o640, uid: 7, gid: 8, sha256, size }
}

/// A `files` layer of `files`, without content in the recipe.
fn copying(files: &[LockedFile], directory: &Path) -> files::Files {
    files::changeset(&dlpack::recipe::Files { files: Vec::new() }, files, directory).expect("a changeset")
}

#[test]
fn files_keep_the_modes_owners_and_links_of_the_lock() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("tool"), "hello").expect("written");
    std::os::unix::fs::symlink("tool", directory.path().join("link")).expect("linked");
    let files = copying(
        &[
            locked("link", "srv/link", FileKind::Symlink, b"tool"),
            locked("tool", "srv/a-b", FileKind::File, b"hello"),
            locked("dir", "srv/a", FileKind::Directory, b""),
            locked("tool", "srv/a/tool", FileKind::File, b"hello"),
        ],
        directory.path(),
    );
    let written: Vec<_> = entries_of(&files)
        .iter()
        .map(|entry| format!("{} {} {:?} {}", entry.attributes(), entry.path, entry.kind, entry.text()))
        .collect();
    let expected = [
        "0640 7:8 srv/a Directory ",
        "0640 7:8 srv/a-b Regular hello",
        "0640 7:8 srv/a/tool Regular hello",
        "0640 7:8 srv/link Symlink tool",
    ];
    assert_eq!(written, expected);
}

#[test]
fn a_file_that_changed_after_it_was_locked_makes_no_layer() {
    let directory = tempfile::tempdir().expect("a directory");
    let cases = [("same length", "jello"), ("longer", "hello, world"), ("shorter", "hell")];
    for (what, content) in cases {
        fs::write(directory.path().join("tool"), content).expect("written");
        let files = copying(&[locked("tool", "srv/tool", FileKind::File, b"hello")], directory.path());
        let error = tar_of(&files).expect_err(what);
        assert!(error.to_string().contains("tool changed after it was locked"), "{what}: {error}");
        assert_eq!(error.hint().as_deref(), Some("lock the recipe again with `--update`"));
    }
    let files = copying(&[locked("gone", "srv/tool", FileKind::File, b"hello")], directory.path());
    assert!(tar_of(&files).expect_err("no file").to_string().contains("can't read"));
}

#[test]
fn a_file_can_stand_in_the_recipe_itself() {
    let recipe = with_layers(
        "[[layer]]\nname = \"f\"\nkind = \"files\"\n[[layer.files]]\nto = \"/etc/motd\"\ncontent = \"hello\"\n",
    );
    let LayerKind::Files(files) = &recipe.layers[0].kind else { panic!("files") };
    let locked = [locked("", "etc/motd", FileKind::File, b"hello")];
    let changeset = files::changeset(files, &locked, Path::new("/nonexistent")).expect("a changeset");
    assert_eq!(entry(&changeset, "etc/motd").text(), "hello");
    assert_eq!(changeset.inputs().summary(), "dlpack files /etc/motd");
}

#[test]
fn a_layer_of_files_is_a_function_of_what_is_in_it_and_not_of_where_it_was() {
    let key = |file: LockedFile| copying(&[file], Path::new("/anywhere")).inputs().key(None);
    let file = || locked("tool", "srv/tool", FileKind::File, b"hello");
    assert_eq!(key(file()), key(LockedFile { from: "elsewhere/tool".into(), ..file() }));
    assert_ne!(key(file()), key(LockedFile { mode: 0o755, ..file() }));
    assert_ne!(key(file()), key(LockedFile { uid: 0, ..file() }));
    assert_ne!(key(file()), key(LockedFile { sha256: Digest::of(b"jello"), ..file() }));
}

#[test]
fn a_time_zone_is_a_link_and_a_name() {
    let zone = |zone: &str| timezone::changeset(&dlpack::recipe::Timezone { zone: zone.into() });
    let seoul = zone("Asia/Seoul").expect("a zone");
    assert_eq!(entry(&seoul, "etc/localtime").text(), "/usr/share/zoneinfo/Asia/Seoul");
    assert_eq!(entry(&seoul, "etc/timezone").text(), "Asia/Seoul\n");
    assert!(zone("Etc/GMT+9").is_ok() && zone("America/Argentina/Buenos_Aires").is_ok());
    for wrong in ["", "/etc/shadow", "../../../etc/shadow", "Asia//Seoul", "Asia/Seoul\n"] {
        let error = zone(wrong).expect_err("no zone");
        assert!(error.hint().is_some_and(|hint| hint.contains("/usr/share/zoneinfo")));
    }
}

#[test]
fn sshd_says_its_port_and_whether_it_takes_passwords() {
    let text = "[[layer]]\nname = \"s\"\nkind = \"sshd\"\nport = 2200\npasswords = true\n";
    let layers = services(&with_layers(text));
    let settings = entry(layers[0].as_ref(), "etc/ssh/sshd_config.d/00-dlpack.conf").text();
    for line in ["Port 2200", "PasswordAuthentication yes", "PermitRootLogin no", "KbdInteractiveAuthentication no"] {
        assert!(settings.lines().any(|set| set == line), "{settings}");
    }
    let default = services(&with_layers("[[layer]]\nname = \"s\"\nkind = \"sshd\"\n"));
    assert_ne!(default[0].inputs().key(None), layers[0].inputs().key(None));
    let payload = entry(default[0].as_ref(), "etc/ssh/sshd_config.d/00-dlpack.conf").text();
    assert_eq!(payload, include_str!("../layers/sshd/etc/ssh/sshd_config.d/00-dlpack.conf"));
    assert!(payload.lines().any(|line| line == "PasswordAuthentication no"));
}

#[test]
fn no_key_and_no_token_lies_in_a_layer() {
    let text = "[[layer]]\nname = \"s\"\nkind = \"sshd\"\n[[layer]]\nname = \"j\"\nkind = \"jupyter\"\n";
    for layer in services(&with_layers(text)) {
        for entry in entries_of(layer.as_ref()) {
            assert!(!entry.path.contains("ssh_host"), "{}", entry.path);
            assert!(!entry.text().contains("PRIVATE KEY") && !entry.text().contains(".token ="), "{}", entry.path);
            assert_eq!((entry.uid, entry.gid), (0, 0), "{}", entry.path);
        }
    }
}

#[test]
fn jupyter_quotes_what_a_recipe_names_and_runs_as_its_only_account() {
    let text = "[[layer]]\nname = \"a\"\nkind = \"account\"\nuser = \"dev\"\n\
        [[layer]]\nname = \"j\"\nkind = \"jupyter\"\nport = 9000\nvenv = \"/opt/it's\"\nroot-dir = \"/srv/\\\"x\\\"\"\n";
    let layers = services(&with_layers(text));
    let settings = entry(layers[0].as_ref(), "etc/jupyter/jupyter_server_config.py").text();
    assert!(settings.contains("c.ServerApp.port = 9000\n"), "{settings}");
    assert!(settings.contains(r#"c.ServerApp.root_dir = "/srv/\"x\"""#), "{settings}");
    let service = entry(layers[0].as_ref(), "usr/local/lib/dlpack/services.d/jupyter").text();
    assert!(service.contains("\nvenv='/opt/it'\\''s'\nuser='dev'\n"), "{service}");
}

#[test]
fn services_bring_ports_and_one_entrypoint_to_the_config() {
    let text = "[config]\nuser = \"dev\"\n[[layer]]\nname = \"s\"\nkind = \"sshd\"\n\
        [[layer]]\nname = \"j\"\nkind = \"jupyter\"\n";
    let mut config = ImageConfig::default();
    config.config.cmd = Some(vec!["/bin/bash".into()]);
    services(&with_layers(text)).iter().for_each(|layer| layer.configure(&mut config));
    let ports: Vec<_> = config.config.exposed_ports.iter().flatten().map(|(port, _)| port.as_str()).collect();
    assert_eq!(ports, ["22/tcp", "2222/tcp", "8888/tcp"]);
    assert_eq!(config.config.entrypoint, Some(vec!["/usr/local/bin/dlpack-entrypoint".into()]));
    assert_eq!(config.config.cmd, None, "a base's shell would end the container at once");
    let none = with_layers("[[layer]]\nname = \"t\"\nkind = \"timezone\"\nzone = \"Asia/Seoul\"\n");
    assert!(entrypoint::changeset(&none).is_none(), "nothing to start");
}

#[test]
fn apt_is_planned_on_what_lies_under_it() {
    let recipe = with_layers("[[layer]]\nname = \"apt\"\nkind = \"apt\"\npackages = [\"tmux\", \"curl\"]\n");
    let LayerKind::Apt(of_apt) = &recipe.layers[0].kind else { panic!("apt") };
    let locked = lock(recipe.clone(), Vec::new(), &[]);
    let LockedLayer::Apt(locked) = &locked.layers[0] else { panic!("apt") };
    let directory = tempfile::tempdir().unwrap();
    let inputs = apt::changeset(of_apt, locked, "amd64", &Store::open(directory.path()).unwrap()).inputs();
    assert!(inputs.needs_rootfs());
    assert_eq!(inputs.contents()[0].name, "tmux 1:2.0-1");
    let under = ChainId(Digest::of(b"another base"));
    assert_ne!(inputs.key(None), inputs.key(Some(under)), "what lies under it counts");
}

#[test]
fn an_assembled_layer_has_the_same_bytes_each_time_and_one_date() {
    let text = "[[layer]]\nname = \"s\"\nkind = \"sshd\"\n[[layer]]\nname = \"j\"\nkind = \"jupyter\"\n";
    for (one, other) in services(&with_layers(text)).iter().zip(services(&with_layers(text))) {
        assert_eq!(one.inputs().key(None), other.inputs().key(None));
        assert!(tar_of(one.as_ref()).expect("a layer") == tar_of(other.as_ref()).expect("a layer"));
        assert!(!one.inputs().needs_rootfs());
        assert!(entries_of(one.as_ref()).iter().all(|entry| entry.mtime == 1_700_000_000));
    }
}

#[test]
fn what_a_container_runs_is_clean_posix_shell() {
    let scripts = [
        "layers/entrypoint/usr/local/bin/dlpack-entrypoint",
        "layers/entrypoint/etc/profile.d/dlpack.sh",
        "layers/sshd/usr/local/lib/dlpack/services.d/sshd",
        "layers/jupyter/usr/local/lib/dlpack/services.d/jupyter",
        "src/changeset/apt/install.sh",
        "src/lock/apt/choose.sh",
        "src/lock/apt/update.sh",
    ];
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    output(Command::new("shellcheck").arg("--shell=sh").args(scripts).current_dir(here), "shellcheck");
    for script in scripts {
        output(Command::new("dash").arg("-n").arg(script).current_dir(here), "dash");
        output(Command::new("busybox").args(["sh", "-n", script]).current_dir(here), "busybox");
    }
}
