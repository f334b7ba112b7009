//! An account: what it makes of the base's files, and what it never shows.

use std::path::Path;

use dlpack::changeset::account::{self, Account};
use dlpack::changeset::{Changeset, Error};
use dlpack::lock::{BaseFile, FileKind, Lock};
use dlpack::oci::ImageConfig;

use crate::support::payload::{base_file, entries_of, entry, lock, recipe};

const HASH: &str = "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/";

fn debian() -> Vec<BaseFile> {
    let directory = BaseFile { kind: FileKind::Directory, ..base_file("etc/skel/.config", (0o755, 0, 0), "") };
    vec![
        base_file(
            "etc/passwd",
            (0o644, 0, 0),
            "root:x:0:0:root:/root:/bin/bash\nsync:x:4:65534:sync:/bin:/bin/sync\nubuntu:x:1000:1000:Ubuntu:/home/ubuntu:/bin/bash\n",
        ),
        base_file("etc/group", (0o644, 0, 0), "root:x:0:\nvideo:x:44:\nusers:x:100:olga\nubuntu:x:1000:\n"),
        base_file("etc/shadow", (0o640, 0, 42), "root:*:19700:0:99999:7:::\nubuntu:!:19700:0:99999:7:::"),
        base_file("etc/gshadow", (0o640, 0, 42), "root:*::\nvideo:*::\nusers:*::\nubuntu:!::\n"),
        base_file("etc/skel/.bashrc", (0o644, 0, 0), "# bash\n"),
        directory,
        base_file("etc/skel/.config/run", (0o755, 0, 0), "#!/bin/sh\n"),
    ]
}

fn locked(layer: &str) -> Lock {
    let recipe = recipe(&format!("base = \"scratch\"\n[[layer]]\nname = \"account\"\nkind = \"account\"\n{layer}"));
    lock(recipe, debian(), &[])
}

fn made(lock: &Lock) -> Result<Account, account::Error> {
    account::changesets(lock, Path::new("/nonexistent")).map(|mut accounts| accounts.remove(0).1)
}

#[track_caller]
fn account(layer: &str) -> Account {
    made(&locked(layer)).expect("an account")
}

#[track_caller]
fn refused(layer: &str) -> (String, String) {
    let error = Error::from(made(&locked(layer)).expect_err("an error"));
    (error.to_string(), error.hint().unwrap_or_default())
}

fn last_line(account: &Account, path: &str) -> String {
    entry(account, path).text().lines().last().expect("a line").to_owned()
}

#[test]
fn a_new_account_is_a_line_at_the_end_of_each_file_of_the_base() {
    let account = account("user = \"dev\"\nuid = 1234");
    assert_eq!(last_line(&account, "etc/passwd"), "dev:x:1234:1234::/home/dev:/bin/bash");
    assert_eq!(last_line(&account, "etc/group"), "dev:x:1234:");
    assert_eq!(last_line(&account, "etc/shadow"), "dev:*::0:99999:7:::");
    assert_eq!(last_line(&account, "etc/gshadow"), "dev:!::");
    assert!(entry(&account, "etc/passwd").text().starts_with(&debian()[0].content));
    let kept = ["etc/passwd", "etc/group", "etc/shadow", "etc/gshadow"].map(|path| entry(&account, path).attributes());
    assert_eq!(kept, ["0644 0:0", "0644 0:0", "0640 0:42", "0640 0:42"]);
}

#[test]
fn its_home_is_the_skeleton_and_belongs_to_it_alone() {
    let account = account("user = \"dev\"\nuid = 1234\ngid = 100\nauthorized-keys = [\"ssh-ed25519 AAAA me\"]");
    let home: Vec<_> = entries_of(&account)
        .into_iter()
        .filter(|entry| entry.path.starts_with("home"))
        .map(|entry| format!("{} {}", entry.attributes(), entry.path))
        .collect();
    let expected = [
        "0700 1234:100 home/dev",
        "0644 1234:100 home/dev/.bashrc",
        "0755 1234:100 home/dev/.config",
        "0755 1234:100 home/dev/.config/run",
        "0700 1234:100 home/dev/.ssh",
        "0600 1234:100 home/dev/.ssh/authorized_keys",
    ];
    assert_eq!(home, expected);
    assert_eq!(entry(&account, "home/dev/.ssh/authorized_keys").text(), "ssh-ed25519 AAAA me\n");
}

#[test]
fn a_gid_of_the_base_is_used_and_not_doubled() {
    let account = account("user = \"dev\"\nuid = 1234\ngid = 100");
    assert_eq!(entry(&account, "etc/group").text(), debian()[1].content);
    assert_eq!(last_line(&account, "etc/passwd"), "dev:x:1234:100::/home/dev:/bin/bash");
}

#[test]
fn a_group_of_the_base_with_the_accounts_name_is_used_and_not_doubled() {
    let account = account("user = \"video\"\nuid = 1234");
    assert_eq!(entry(&account, "etc/group").text(), debian()[1].content);
    assert_eq!(last_line(&account, "etc/passwd"), "video:x:1234:44::/home/video:/bin/bash");
}

#[test]
fn an_account_of_the_base_is_taken_over_with_its_ids_and_its_home() {
    let account = account("user = \"ubuntu\"\nshell = \"/bin/zsh\"");
    let passwd = entry(&account, "etc/passwd").text();
    assert_eq!(passwd.matches("\nubuntu:").count(), 1);
    assert_eq!(passwd.lines().last(), Some("ubuntu:x:1000:1000:Ubuntu:/home/ubuntu:/bin/zsh"));
    assert_eq!(last_line(&account, "etc/shadow"), "ubuntu:*::0:99999:7:::");
    assert!(!entries_of(&account).iter().any(|entry| entry.path.ends_with(".bashrc")), "a home is not filled twice");
    assert!(!entries_of(&account).iter().any(|entry| entry.path == "home/ubuntu"), "it keeps its attributes");
}

#[test]
fn it_joins_groups_of_the_base() {
    let account = account("user = \"dev\"\nuid = 1234\ngroups = [\"video\", \"users\"]");
    let group = entry(&account, "etc/group").text();
    assert!(group.contains("video:x:44:dev\n") && group.contains("users:x:100:olga,dev\n"), "{group}");
    assert!(entry(&account, "etc/gshadow").text().contains("video:*::dev\n"));
}

#[test]
fn a_second_account_is_added_to_what_the_first_left() {
    let layer = |name: &str, uid: u32| {
        format!("[[layer]]\nname = \"{name}\"\nkind = \"account\"\nuser = \"{name}\"\nuid = {uid}\n")
    };
    let text = format!("base = \"scratch\"\n{}{}", layer("one", 2001), layer("two", 2002));
    let accounts = account::changesets(&lock(recipe(&text), debian(), &[]), Path::new("/nonexistent")).expect("two");
    assert_eq!(accounts.iter().map(|(layer, _)| *layer).collect::<Vec<_>>(), [0, 1]);
    let passwd = entry(&accounts[1].1, "etc/passwd").text();
    assert!(passwd.ends_with("one:x:2001:2001::/home/one:/bin/bash\ntwo:x:2002:2002::/home/two:/bin/bash\n"));
}

#[test]
fn on_nothing_it_brings_the_account_files_with_it() {
    let mut lock = locked("user = \"dev\"");
    lock.base.files.clear();
    let account = made(&lock).expect("an account");
    assert_eq!(
        entry(&account, "etc/passwd").text(),
        "root:x:0:0:root:/root:/bin/sh\ndev:x:1000:1000::/home/dev:/bin/bash\n"
    );
    assert_eq!(entry(&account, "etc/shadow").attributes(), "0600 0:0");
    assert!(!entries_of(&account).iter().any(|entry| entry.path == "etc/gshadow"));
}

#[test]
fn what_contradicts_the_base_is_refused_with_a_way_out() {
    let cases = [
        ("user = \"dev\"", "account dev: uid 1000 is ubuntu's in the base", "uid = 1001"),
        ("user = \"ubuntu\"\nuid = 7", "the base has the user ubuntu as 1000, the recipe says 7", "leave `uid` out"),
        ("user = \"video\"\nuid = 7\ngid = 7", "the base has the group video as 44", "leave `gid` out"),
        ("user = \"dev\"\nuid = 7\ngroups = [\"docker\"]", "the base has no group docker", "groups that the base has"),
        ("user = \"Dev:0\"", "`Dev:0` can't be a user name", "small letter"),
        ("user = \"dev\"\nuid = 7\nshell = \"/bin/sh\\nroot::0:0\"", "can't be its shell", ""),
        ("user = \"dev\"\nuid = 7\nhome = \"/home/../etc\"", "can't be its home", ""),
        ("user = \"dev\"\nuid = 7\nvenv = \"/opt/venv\"", "the recipe has no venv at /opt/venv", "leave `venv` out"),
    ];
    for (layer, message, way_out) in cases {
        let (found, hint) = refused(layer);
        assert!(found.contains(message) && hint.contains(way_out), "{layer}\n{found}\n{hint}");
    }
}

#[test]
fn a_password_is_a_hash_from_a_secret_and_shows_in_nothing_but_shadow() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("hash"), format!("{HASH}\n")).expect("written");
    let lock = locked("user = \"dev\"\nuid = 1234\npassword-secret = \"file:hash\"");
    let accounts = account::changesets(&lock, directory.path()).expect("an account");
    let account = &accounts[0].1;
    assert_eq!(last_line(account, "etc/shadow"), format!("dev:{HASH}::0:99999:7:::"));

    let inputs = account.inputs();
    let mut config = ImageConfig::default();
    account.configure(&mut config);
    let shown = [
        format!("{account:?}"),
        format!("{inputs:?}"),
        serde_json::to_string(&inputs).expect("JSON"),
        serde_json::to_string(&config).expect("JSON"),
        inputs.summary().to_owned(),
    ];
    for shown in shown {
        assert!(!shown.contains("qFmFH"), "{shown}");
    }
    let locked_account = made(&locked("user = \"dev\"\nuid = 1234")).expect("an account");
    assert_ne!(locked_account.inputs().key(None), inputs.key(None), "another password is another layer");
}

#[test]
fn what_is_no_hash_is_refused_without_being_shown() {
    let directory = tempfile::tempdir().expect("a directory");
    for clear in ["hunter2", "", "$1$salt$qFmFHbQmmtXzyBY0s9v7Oi", "$6$salt$short", &format!("{HASH}:0:0"), "$6$a b$"] {
        std::fs::write(directory.path().join("hash"), clear).expect("written");
        let lock = locked("user = \"dev\"\nuid = 1234\npassword-secret = \"file:hash\"");
        let error = Error::from(account::changesets(&lock, directory.path()).expect_err("an error"));
        let shown = format!("{error:?} {error} {:?}", error.hint());
        assert!(shown.contains("NotAHash") && (clear.is_empty() || !shown.contains(clear)), "{shown}");
        assert!(error.hint().is_some_and(|hint| hint.contains("openssl passwd -6")));
    }
    let (message, hint) = refused("user = \"dev\"\nuid = 1234\npassword-secret = \"DLPACK_TEST_UNSET\"");
    assert_eq!(message, "account dev has no password");
    assert!(hint.contains("DLPACK_TEST_UNSET"));
}

#[test]
fn its_own_venv_lies_over_the_shared_one() {
    let text = "base = \"scratch\"\n\
        [[layer]]\nname = \"account\"\nkind = \"account\"\nuser = \"dev\"\nuid = 1234\nvenv = \"/opt/venv\"\n\
        [[layer]]\nname = \"venv\"\nkind = \"venv\"\npath = \"/opt/venv\"\npython = \"3.11\"\n";
    let account = made(&lock(recipe(text), debian(), &["pip", "ipykernel"])).expect("an account");
    let path = |path: &str| entry(&account, &format!("home/dev/.venv/{path}"));
    assert_eq!(path("bin/python").text(), "/usr/bin/python3.11");
    assert_eq!(
        path("lib/python3.11/site-packages/shared.pth").text(),
        "import site; site.addsitedir(\"/opt/venv/lib/python3.11/site-packages\")\n"
    );
    assert!(path("bin/pip").text().starts_with("#!/home/dev/.venv/bin/python\n"));
    assert_eq!(path("bin/pip").attributes(), "0755 1234:1234");
    let kernel: serde_json::Value =
        serde_json::from_str(&path("share/jupyter/kernels/python3/kernel.json").text()).expect("a kernel spec");
    assert_eq!(kernel["argv"][0], "/home/dev/.venv/bin/python");
}

#[test]
fn its_own_venv_comes_first_in_path_wherever_the_account_stands() {
    let account_layer =
        "[[layer]]\nname = \"a\"\nkind = \"account\"\nuser = \"dev\"\nuid = 1234\nvenv = \"/opt/venv\"\n";
    let venv_layer = "[[layer]]\nname = \"v\"\nkind = \"venv\"\npath = \"/opt/venv\"\npython = \"3.11\"\n";
    let store = tempfile::tempdir().expect("a directory");
    let store = dlpack::store::Store::open(store.path()).expect("a store");
    for account_first in [true, false] {
        let layers = if account_first { [account_layer, venv_layer] } else { [venv_layer, account_layer] };
        let lock = lock(recipe(&format!("base = \"scratch\"\n{}", layers.concat())), debian(), &[]);
        let account = made(&lock).expect("an account");
        let mut config = ImageConfig::default();
        config.config.set_env("PATH", "/usr/bin:/bin");
        let mut venv = Vec::new();
        for (layer, locked) in lock.recipe.layers.iter().zip(&lock.layers) {
            if let (dlpack::recipe::LayerKind::Venv(recipe), dlpack::lock::LockedLayer::Venv(locked)) =
                (&layer.kind, locked)
            {
                venv = dlpack::changeset::venv::changesets(recipe, locked, std::path::Path::new("."), &store)
                    .expect("a venv");
            }
        }
        let configure_venv = |config: &mut ImageConfig| venv.iter().for_each(|layer| layer.changeset.configure(config));
        if account_first {
            account.configure(&mut config);
            configure_venv(&mut config);
        } else {
            configure_venv(&mut config);
            account.configure(&mut config);
        }
        assert_eq!(config.config.env("PATH"), Some("/home/dev/.venv/bin:/opt/venv/bin:/usr/bin:/bin"));
        assert_eq!(config.config.env("VIRTUAL_ENV"), Some("/home/dev/.venv"));
    }
}
