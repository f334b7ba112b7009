//! apt layers: chosen and verified by the base's own apt, installed from what the lock
//! names, the same bytes each time.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::command::{Dlpack, Ran};
use crate::support::image::debian_with_apt;
use crate::support::output;
use crate::support::shown::Shown;
use crate::support::signed_archive::{Archive, Signing};
use crate::support::victim;

/// Whoever has no name, no group and no subordinate ids.
const NOBODY: &str = "52341";

/// A home whose recipes find the base `gzip`, with this machine's archives, and `bare`,
/// without any.
fn home() -> Dlpack {
    let dlpack = Dlpack::new();
    symlink(debian_with_apt().path(), dlpack.work().join("base")).expect("a link");
    dlpack
}

/// A home with a recipe that installs `package` from `archive`.
fn small(archive: &Archive, package: &str) -> Dlpack {
    let dlpack = home();
    dlpack.write("key.asc", &archive.key());
    dlpack.write("dlpack.toml", &recipe(&archive.url(), package));
    dlpack
}

fn recipe(url: &str, package: &str) -> String {
    format!(
        "base = {{ layout = \"base\", tag = \"bare\" }}\n\n[[layer]]\nkind = \"apt\"\npackages = [\"{package}\"]\n\
         sources = [{{ url = \"{url}\", suites = [\"stable\"], components = [\"main\"], key = \"key.asc\" }}]\n"
    )
}

/// `dlpack ARGS` by an ordinary user with one uid.
fn as_nobody(dlpack: &Dlpack, arguments: &[&str]) -> Command {
    let owner = format!("{NOBODY}:{NOBODY}");
    output(Command::new("chown").args(["-R", &owner]).arg(dlpack.home()), "coreutils");
    let mut command =
        dlpack.command_in(&["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"], arguments);
    command.env("UV_CACHE_DIR", dlpack.home().join("uv-cache"));
    command
}

fn ok(command: &mut Command) -> String {
    let ran = command.output().map(Ran::from).expect("dlpack runs");
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
    ran.stdout.trim_end().to_owned()
}

/// The entries of the last layer: path, what it is with mode and owner, content.
fn entries(dlpack: &Dlpack, built: &str) -> Vec<(String, String, String)> {
    let layer = dlpack.layers_of(built).pop().expect("a layer");
    let mut tar = tempfile::NamedTempFile::new().expect("a file");
    std::io::Write::write_all(
        &mut tar,
        &output(Command::new("gzip").arg("-dc").arg(dlpack.blob(&layer)), "gzip").stdout,
    )
    .expect("written");
    let mut archive = tar::Archive::new(fs::File::open(tar.path()).expect("a tar"));
    let entry = |entry: std::io::Result<tar::Entry<'_, fs::File>>| {
        let mut entry = entry.expect("an entry");
        let header = entry.header();
        let what = format!(
            "{:?} {:o} {}:{}",
            header.entry_type(),
            header.mode().expect("a mode"),
            header.uid().expect("a uid"),
            header.gid().expect("a gid")
        );
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).expect("read");
        let path = String::from_utf8_lossy(&entry.path_bytes()).trim_end_matches('/').to_owned();
        (path, what, String::from_utf8_lossy(&content).into_owned())
    };
    archive.entries().expect("a tar").map(entry).collect()
}

#[test]
fn the_same_lock_gives_the_same_layer_in_two_stores_as_root_and_with_one_uid() {
    let archive = Archive::start();
    let (first, second) = (small(&archive, "hello-service"), small(&archive, "hello-service"));
    first.ok(["lock"]);
    fs::copy(first.work().join("dlpack.lock"), second.work().join("dlpack.lock")).expect("copied");
    let built = first.ok(["build"]);
    assert_eq!(ok(&mut as_nobody(&second, &["build", "--quiet"])), built);
    let entries = entries(&first, &built);
    let find =
        |path: &str| entries.iter().find(|(name, ..)| name == path).map(|(_, what, content)| (&**what, &**content));
    assert_eq!(find("usr/share/hello/hello-service"), Some(("Regular 644 0:0", "hello\n")));
    assert_eq!(find("var/lib/hello"), Some(("Directory 2750 777:777", "")), "the owner that root would have given");
    assert_eq!(find("etc/machine-id").map(|(_, content)| content), Some(""), "an image's is empty");
    assert_eq!(find("var/log/hello.log").map(|(_, content)| content), Some(""), "logs are empty");
    assert_eq!(find("etc/ssh_host_is_elsewhere").map(|(_, content)| content), Some("constant\n"));
    let (_, shadow) = find("etc/shadow").expect("an account");
    assert!(shadow.contains("\nhellod:!:3652::::::\n"), "dated by SOURCE_DATE_EPOCH:\n{shadow}");
    let (_, status) = find("var/lib/dpkg/status").expect("dpkg's database");
    assert!(status.contains("Package: hello-data\nStatus: install ok installed\n"));
    let (_, marks) = find("var/lib/apt/extended_states").expect("apt's marks");
    assert!(marks.contains("Package: hello-data\n") && !marks.contains("Package: hello-service\n"), "{marks}");
    for left_out in ["run", "tmp", "var/cache/apt", "var/lib/apt/lists", "etc/ssh/ssh_host_rsa_key", "etc/shadow-"] {
        let inside = |path: &str| path == left_out || path.starts_with(&format!("{left_out}/"));
        assert!(!entries.iter().any(|(path, ..)| inside(path)), "{left_out} in {entries:#?}");
    }
    assert!(!entries.iter().any(|(path, ..)| path.contains("policy-rc.d") || path.ends_with("-old")));
}

#[test]
fn a_plan_and_an_image_name_the_packages_and_nothing_is_done_twice() {
    let archive = Archive::start();
    let dlpack = small(&archive, "hello-service");
    dlpack.ok(["lock"]);
    let contents = |of: &Value| {
        let contents = of["contents"].as_array().expect("contents").iter();
        contents.map(|one| one["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    let both = ["hello-data 1.0", "hello-service 1.0"];
    let plan = dlpack.json(["plan"]);
    assert_eq!(
        (contents(&plan["layers"][0]), &plan["layers"][0]["place"]),
        (both.map(str::to_owned).to_vec(), &"sandbox".into())
    );
    let digest = dlpack.ok(["build", "example.org/hello:1"]);
    let again = dlpack.json(["build"]);
    assert_eq!((again["built"].as_u64(), again["digest"].as_str()), (Some(0), Some(&*digest)), "{again}");
    let inspected = dlpack.json(["inspect", "example.org/hello:1"]);
    let layer = inspected["layers"].as_array().expect("layers").iter().find(|layer| layer["layer"] == "apt");
    assert_eq!(contents(layer.expect("the apt layer")).len(), 2);
}

#[test]
fn an_archive_is_read_from_its_mirror_and_the_lock_names_the_archive() {
    let archive = Archive::start();
    let dlpack = small(&archive, "hello-data");
    dlpack.ok(["lock"]);
    let direct = fs::read_to_string(dlpack.work().join("dlpack.lock")).expect("a lock");
    dlpack.write("dlpack.toml", &recipe("http://archive.invalid/debian", "hello-data"));
    let mirrors = format!("http://archive.invalid/debian={}", archive.url());
    for verb in ["lock", "build"] {
        ok(dlpack.command([verb, "--quiet"]).env("DLPACK_APT_MIRRORS", &mirrors));
    }
    let led = fs::read_to_string(dlpack.work().join("dlpack.lock")).expect("a lock");
    assert_eq!(led, direct.replace(&archive.url(), "http://archive.invalid/debian"));
}

#[test]
fn archives_are_asked_through_the_proxy_that_this_machines_apt_is_told_of() {
    let archive = Archive::start();
    let dlpack = small(&archive, "hello-data");
    dlpack.write("dlpack.toml", &recipe("http://archive.invalid", "hello-data"));
    let settings = dlpack.write("apt.conf", &format!("Acquire::http::Proxy \"{}\";\n", archive.url()));
    for verb in ["lock", "build"] {
        ok(dlpack.command([verb, "--quiet"]).env("APT_CONFIG", &settings));
    }
}

#[test]
fn a_package_that_is_not_what_the_lock_names_is_refused_and_the_next_run_works() {
    let archive = Archive::start();
    let dlpack = small(&archive, "hello-service");
    dlpack.ok(["lock"]);
    let deb = archive.deb("hello-data");
    let good = fs::read(&deb).expect("a package");
    let mut bad = good.clone();
    *bad.last_mut().expect("bytes") ^= 1;
    fs::write(&deb, &bad).expect("written");
    let refused = dlpack.run(["build"]);
    assert_eq!(refused.status, 6, "{}", refused.stderr);
    assert!(refused.stderr.contains("hello-data_1.0_all.deb"), "{}", refused.stderr);
    assert_eq!(dlpack.leftovers(), 0);
    fs::write(&deb, &good).expect("written");
    let built = dlpack.ok(["build"]);

    // Damaged in the store, it is found when it is read, and fetched anew.
    let downloads = dlpack.store().join("downloads/sha256");
    let kept = downloads.join(dlpack::oci::Digest::of(&good).hex());
    fs::write(&kept, &bad).expect("written");
    for made in ["blobs/sha256", "keys"] {
        fs::remove_dir_all(dlpack.store().join(made)).expect("removed");
    }
    assert_eq!(dlpack.ok(["build"]), built);
    assert_eq!(fs::read(&kept).expect("kept"), good);
}

#[test]
fn what_a_killed_build_leaves_is_swept_by_a_collection_and_by_the_next_build() {
    let archive = Archive::start();
    let dlpack = small(&archive, "hello-forever");
    dlpack.ok(["lock"]);
    let scratch = || fs::read_dir(dlpack.store().join("scratch")).map_or(0, Iterator::count);
    let kill = || {
        let mut child =
            dlpack.command(["build"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("dlpack runs");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
        assert!(lines.any(|line| line == "apt: forever"), "it never ran");
        let processes = victim::descendants(child.id());
        child.kill().expect("killed");
        child.wait().expect("ended");
        victim::wait_for(&processes);
        assert_eq!(scratch(), 2, "the sandbox, and what its step was given");
    };
    kill();
    let collected = dlpack.json(["cache", "gc"]);
    assert_eq!((scratch(), dlpack.leftovers()), (0, 0), "{collected}");
    kill();
    dlpack.edit("dlpack.toml", "hello-forever", "hello-data");
    dlpack.ok(["build", "--update"]);
    assert_eq!((scratch(), dlpack.leftovers()), (0, 0));
}

#[test]
fn an_archive_that_is_not_signed_as_it_should_be_is_refused_and_the_next_run_works() {
    let archive = Archive::start();
    let dlpack = small(&archive, "hello-data");
    for (signing, says) in [
        (Signing::Missing, "is not signed"),
        (Signing::Tampered, "BADSIG"),
        (Signing::Foreign, "NO_PUBKEY"),
        (Signing::Expired, "is expired"),
    ] {
        archive.publish(signing);
        let refused = dlpack.run(["lock"]);
        let said = &refused.stderr;
        assert_eq!(refused.status, 3, "{signing:?}: {said}");
        assert!(said.contains("layer `apt`: the base's apt could not read the archives"), "{signing:?}: {said}");
        assert!(said.contains(says) && said.contains("hint: the archive"), "{signing:?}: {said}");
        assert!(!dlpack.work().join("dlpack.lock").exists());
        let scratch = fs::read_dir(dlpack.store().join("scratch")).map_or(0, Iterator::count);
        assert_eq!((scratch, dlpack.leftovers()), (0, 0), "{signing:?} left something behind");
    }
    archive.publish(Signing::Good);
    dlpack.ok(["lock"]);
}

#[test]
fn a_lock_notices_another_package_and_another_key() {
    let archive = Archive::start();
    let dlpack = small(&archive, "hello-data");
    dlpack.ok(["lock"]);
    dlpack.ok(["lock", "--check"]);
    dlpack.write("key.asc", &format!("{}\n", archive.key()));
    let said = dlpack.fails(["lock", "--check"]);
    assert!(said.contains("dlpack.toml:3:1: key.asc changed after the recipe was locked"), "{said}");
    dlpack.write("key.asc", &archive.key());
    dlpack.edit("dlpack.toml", "hello-data", "hello-service");
    let said = dlpack.fails(["lock", "--check"]);
    assert!(said.contains("`layer.apt.packages` changed from \"hello-data\" to \"hello-service\""), "{said}");
}

#[test]
fn errors_of_apt_layers_as_they_are_shown() {
    let archive = Archive::start();
    let dlpack = small(&archive, "hello-daat");
    let mut shown = Shown::new();
    shown.replace(dlpack.home().display().to_string(), "HOME");
    shown.replace(archive.url(), "ARCHIVE");
    shown.run("an unknown package", &mut dlpack.command(["lock", "--quiet"]));
    dlpack.edit("dlpack.toml", "hello-daat", "hello-data=2.0");
    shown.run("an unknown version", &mut dlpack.command(["lock", "--quiet"]));
    shown.run("no mirrors", dlpack.command(["lock", "--quiet"]).env("DLPACK_APT_MIRRORS", "nowhere"));
    dlpack.write("dlpack.toml", "base = \"scratch\"\n[[layer]]\nkind = \"apt\"\npackages = [\"tmux\"]\n");
    shown.run("no apt", &mut dlpack.command(["lock", "--quiet"]));
    shown.is("apt/lock");
}

#[test]
fn real_packages_are_installed_whole_on_top_of_each_other_and_bring_an_interpreter() {
    let dlpack = home();
    dlpack.write(
        "dlpack.toml",
        "base = { layout = \"base\", tag = \"gzip\" }\n\
         [[layer]]\nkind = \"apt\"\npackages = [\"cron\", \"openssh-server\", \"python3-minimal\"]\n\
         [[layer]]\nkind = \"apt\"\nname = \"more\"\npackages = [\"ssl-cert\", \"tmux\", \"libssl3\"]\n\
         [[layer]]\nkind = \"venv\"\npython = \"3.11\"\n",
    );
    let built = ok(&mut as_nobody(&dlpack, &["build", "--quiet"]));
    let root = tempfile::tempdir().expect("a directory");
    for layer in dlpack.layers_of(&built) {
        let base = debian_with_apt().blob(&layer);
        let blob = if base.exists() { base } else { dlpack.blob(&layer) };
        let mut tar = Command::new("tar");
        output(tar.arg("-xpzf").arg(blob).arg("-C").arg(root.path()).arg("--numeric-owner"), "tar");
    }
    // /dev is the runtime's
    std::fs::create_dir_all(root.path().join("dev")).expect("a directory");
    output(Command::new("mknod").arg(root.path().join("dev/null")).args(["c", "1", "3"]), "coreutils");
    let chroot = |script: &str| {
        let mut chroot = Command::new("chroot");
        chroot.arg(root.path()).args(["/bin/sh", "-ec", script]).env_clear();
        let said = output(chroot.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "coreutils").stdout;
        String::from_utf8(said).expect("UTF-8")
    };
    // the base has no documentation, and tells dpkg so
    let not_there = "' c |/usr/share/(doc|man|locale)'";
    let verify = format!("dpkg --audit; dpkg --verify --verify-format rpm | grep -Ev {not_there} || true");
    assert_eq!(chroot(&verify), "");
    assert_eq!(
        chroot("apt-get check -qq; stat -c '%a %U:%G' /usr/bin/crontab /usr/bin/ssh-agent"),
        "2755 root:crontab\n2755 root:_ssh\n"
    );
    let manual = chroot("apt-mark showmanual");
    for name in ["cron", "openssh-server", "python3-minimal", "ssl-cert", "tmux", "libssl3"] {
        assert!(manual.lines().any(|line| line == name), "{name} in {manual}");
    }
    assert!(!manual.contains("python3.11-minimal"), "{manual}");
    assert_eq!(
        chroot("ls /etc/ssh/ssh_host_* /etc/ssl/private/* 2>/dev/null || cat /etc/machine-id 2>/dev/null || true"),
        ""
    );
    assert_eq!(
        chroot("tmux -V; ssh -V 2>&1 | cut -c-7; /opt/venv/bin/python -c 'print(6 * 7)'"),
        "tmux 3.3a\nOpenSSH\n42\n"
    );
}
