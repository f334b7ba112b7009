//! A small real Debian, made once by `mmdebstrap` from the mirrors that this
//! machine's apt uses, and kept as a tar.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use dlpack::oci::Digest;

/// What is in it beside what every Debian has.
const PACKAGES: &str = "ca-certificates,libstdc++6,openssh-server,python3,tmux,tzdata";

/// What of it no test looks at.
const EXCLUDED: [&str; 3] = ["usr/share/doc", "usr/share/man", "usr/share/locale"];

/// Where [`with_apt`] has its archives.
pub const APT_LIST: &str = "etc/apt/sources.list.d/machine.list";

/// The options that shape the root filesystem; with the release they are its key.
fn options(variant: &str, packages: &str) -> Vec<String> {
    let mut options = vec!["--quiet".into(), format!("--variant={variant}"), format!("--include={packages}")];
    options.extend(EXCLUDED.map(|path| format!("--dpkgopt=path-exclude=/{path}/*")));
    // host keys are made at a container's first start, and a container's /dev is the runtime's
    options.push(r#"--customize-hook=rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/apt/sources.list.d/*"#.into());
    options.push("--skip=output/dev".into());
    options
}

/// The tar of the root filesystem. The first caller makes it; others wait.
pub fn tar() -> PathBuf {
    tar_with("essential", PACKAGES)
}

/// The tar of one that has apt and the least besides.
pub fn bare_tar() -> PathBuf {
    tar_with("apt", "ca-certificates")
}

/// The same with a compiler, and what a C extension for Python includes.
pub fn tar_with_compiler() -> PathBuf {
    tar_with("essential", "gcc,libc6-dev,python3,python3-dev")
}

/// The tar of one that has apt, and in [`APT_LIST`] the archives that this machine's apt uses.
pub fn with_apt() -> PathBuf {
    let mut options = options("apt", "ca-certificates");
    options.retain(|option| !option.starts_with("--customize-hook"));
    // mmdebstrap calls it after the file that it is given
    options.push(format!(r#"--customize-hook=mv "$1"/etc/apt/sources.list.d/0000*.list "$1"/{APT_LIST}"#));
    tar_made_with(options)
}

fn tar_with(variant: &str, packages: &str) -> PathBuf {
    tar_made_with(options(variant, packages))
}

fn tar_made_with(options: Vec<String>) -> PathBuf {
    let release = release();
    let key = Digest::of(format!("{release} {options:?}").as_bytes()).short();
    let tar = super::parts().join(format!("debian-{key}.tar"));
    let _alone = alone(&tar);
    if !tar.exists() {
        make(&tar, &release, options);
    }
    tar
}

/// Holds the lock of a part that is made once.
pub fn alone(part: &Path) -> File {
    let file = File::create(part.with_extension("lock")).expect("a lock file");
    file.lock().expect("the lock");
    file
}

fn make(tar: &Path, release: &str, options: Vec<String>) {
    let sources = tar.with_extension("list");
    fs::write(&sources, apt_sources()).expect("sources written");
    let unfinished = tar.with_extension("unfinished.tar");
    super::output(Command::new("mmdebstrap").args(options).arg(release).arg(&unfinished).arg(&sources), "mmdebstrap");
    fs::remove_file(&sources).expect("sources removed");
    fs::rename(&unfinished, tar).expect("renamed");
}

/// The release that this machine runs, `bookworm`.
pub fn release() -> String {
    let text = fs::read_to_string("/etc/os-release").expect("/etc/os-release");
    let line = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    line.expect("the root filesystem of the tests is made on Debian or Ubuntu").trim_matches('"').to_owned()
}

/// The distribution's archives as this machine's apt has them.
fn apt_sources() -> String {
    let sources = |origin: &str| {
        let mut command = Command::new("apt-get");
        command.args(["indextargets", "--format", "deb $(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]);
        String::from_utf8(super::output(command.arg(format!("Origin: {origin}")), "apt").stdout).expect("UTF-8")
    };
    let text = sources("Debian") + &sources("Ubuntu");
    assert!(!text.is_empty(), "apt knows no archive of Debian\nhint: apt-get update");
    text
}
