//! How a container of the image is started where the command line says nothing: the
//! `[run]` table. It is no part of the image: no layer, key, digest or lock has it.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use super::error::Fault;
use super::port::Port;
use super::table::{Field, Table};
use super::tree::Value;
use super::values::{self, Complaint};

/// What a container is started with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Container {
    /// Who it runs as, as the image's config has it; the image's user if not given.
    pub user: Option<String>,
    /// Where its command starts; the image's if not given.
    pub workdir: Option<String>,
    /// What it sees of this machine.
    pub mounts: Vec<Bind>,
    /// Where it sees the directory that it is started in, and starts itself.
    pub cwd: Option<Cwd>,
    /// Variables, over those of the image.
    pub env: BTreeMap<String, String>,
    /// How large `/dev/shm` may grow, in bytes.
    pub shm_size: Option<u64>,
    /// Which GPUs it has, as `--gpus` says it.
    pub gpus: Option<String>,
    /// What it reaches.
    pub net: Option<Net>,
    /// Ports of this machine that lead to its own.
    pub ports: Vec<Port>,
}

impl Container {
    /// The same with mounts from where they are for a recipe in `directory`.
    pub fn located_in(mut self, directory: &Path) -> Self {
        for bind in &mut self.mounts {
            if !bind.from.starts_with(['/', '~']) {
                bind.from = directory.join(&bind.from).to_string_lossy().into_owned();
            }
        }
        self
    }
}

/// The `[run]` table.
pub(super) fn container(field: Field<'_>) -> Result<Container, Fault> {
    const KEYS: [&str; 9] = ["user", "workdir", "mounts", "cwd", "env", "shm-size", "gpus", "net", "ports"];
    let table = Table::open(field, "[run]", &KEYS)?;
    Ok(Container {
        user: table.text("user", values::image_user)?,
        workdir: table.text("workdir", values::image_directory)?,
        mounts: table.list("mounts", |field| read(field, str::parse))?,
        cwd: table.field("cwd").map(cwd).transpose()?.flatten(),
        env: table.strings("env", values::environment, values::any)?,
        shm_size: table.field("shm-size").map(|field| read(field, memory_size)).transpose()?,
        gpus: table.text("gpus", values::something)?,
        net: table.field("net").map(|field| read(field, str::parse)).transpose()?,
        ports: table.list("ports", |field| read(field, str::parse))?,
    })
}

/// A string in a form that the command line has, too.
fn read<T>(field: Field<'_>, form: impl Fn(&str) -> Result<T, String>) -> Result<T, Fault> {
    let text = field.text(values::something)?;
    form(&text).map_err(|why| field.refused(&text, Complaint::new(why)))
}

/// `true`, or a path in the container.
fn cwd(field: Field<'_>) -> Result<Option<Cwd>, Fault> {
    match field.node.value {
        Value::Boolean(wanted) => Ok(wanted.then_some(Cwd::Workdir)),
        Value::String(_) | Value::Filled(_) => Ok(Some(Cwd::At(field.text(values::image_path)?))),
        _ => Err(field.wrong_type("true, or a path in the container", None)),
    }
}

/// Where a container sees the directory that it is started in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cwd {
    /// At its working directory.
    Workdir,
    /// At this path of it.
    At(String),
}

/// How a mount is written.
const MOUNT: &str = "write HOST:CONTAINER or HOST:CONTAINER:ro";

/// A file or directory of this machine that a container sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// Where it is on this machine, `~/` being the caller's home.
    pub from: String,
    /// Where the container sees it: absolute, in its shortest form.
    pub to: String,
    /// Whether it can't be written to.
    pub read_only: bool,
}

impl FromStr for Bind {
    type Err = String;

    /// docker-run(1), `--volume`: `HOST:CONTAINER[:ro|rw]`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (rest, read_only) = match text.rsplit_once(':') {
            Some((rest, "ro")) => (rest, true),
            Some((rest, "rw")) => (rest, false),
            // docker's other options: `z`, `cached`, `rprivate`
            Some((rest, option)) if rest.contains(":/") && !option.starts_with('/') => {
                return Err(format!("`{option}` is no option of a mount: those are `ro` and `rw`"));
            }
            _ => (text, false),
        };
        let (from, to) = rest.rsplit_once(':').filter(|(from, _)| !from.is_empty()).ok_or(MOUNT)?;
        Ok(Self { from: from.to_owned(), to: mount_point(to)?, read_only })
    }
}

/// What a container reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Net {
    /// What this machine reaches.
    Host,
    /// Its own loopback.
    Private,
}

impl FromStr for Net {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "host" => Ok(Self::Host),
            "private" | "none" => Ok(Self::Private),
            _ => Err("it is `host`, or `private`, which may be called `none`".to_owned()),
        }
    }
}

/// A path in a container: absolute, below `/`, without `..`.
pub fn container_path(path: &str) -> Result<(), String> {
    let inside = path.strip_prefix('/').ok_or_else(|| format!("`{path}` is no absolute path in the container"))?;
    let mut parts = inside.split('/').filter(|part| !matches!(*part, "" | ".")).peekable();
    if parts.peek().is_none() {
        return Err("the container's root is the image's: name a directory below `/`".to_owned());
    }
    if parts.any(|part| part == "..") || path.contains('\0') {
        return Err(format!("`{path}` has `..` in it"));
    }
    Ok(())
}

/// The shortest form of a path in a container where something may be mounted.
pub fn mount_point(path: &str) -> Result<String, String> {
    container_path(path)?;
    let names: Vec<&str> = path.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    // runtime-spec `config-linux.md`, Default Filesystems; in /dev and /sys there are places for more
    match *names {
        [own @ ("proc" | "sys" | "dev")] | [own @ "proc", ..] => Err(format!("the container has a /{own} of its own")),
        _ => Ok(format!("/{}", names.join("/"))),
    }
}

/// A size of memory in bytes, with units of 1024 as docker-run(1) has it: `16g`, `512m`.
pub fn memory_size(text: &str) -> Result<u64, String> {
    let form = || "write a number and a unit: 16g, 512m".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let shift = match text[digits..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(form()),
    };
    let count: u64 = text[..digits].parse().map_err(|_| form())?;
    // tmpfs(5): a size of 0 is no limit at all
    let bytes = count.checked_mul(1 << shift).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| "it is more than nothing, and less than 16 EiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_as_docker_has_them() {
        let bind = |text: &str| text.parse::<Bind>().map(|bind| (bind.from, bind.to, bind.read_only));
        assert_eq!(bind("~/data:/data:ro"), Ok(("~/data".into(), "/data".into(), true)));
        assert_eq!(bind(".:/app"), Ok((".".into(), "/app".into(), false)));
        assert_eq!(bind("/a:b:/c:rw"), Ok(("/a:b".into(), "/c".into(), false)));
        assert_eq!(bind("a://b/./c,d/"), Ok(("a".into(), "/b/c,d".into(), false)));
        assert_eq!(bind("/dev/shm:/dev/shm"), Ok(("/dev/shm".into(), "/dev/shm".into(), false)));
        for wrong in ["/data", "", ":/data", "/a:b", "/a:/", "/a:/b/../c"] {
            assert!(bind(wrong).is_err(), "{wrong}");
        }
        for own in ["/a:/proc", "/a:/proc//1", "/a:/./dev/", "/a:/sys"] {
            assert!(bind(own).is_err_and(|why| why.ends_with("of its own")), "{own}");
        }
        for option in ["z", "ro,Z", "cached", "rprivate", ""] {
            assert!(bind(&format!("/a:/b:{option}")).is_err_and(|why| why.contains("`ro` and `rw`")), "{option}");
        }
    }

    #[test]
    fn sizes_of_memory_have_units_of_1024() {
        assert_eq!((memory_size("16g"), memory_size("512MB"), memory_size("7")), (Ok(16 << 30), Ok(512 << 20), Ok(7)));
        for wrong in ["", "g", "0", "0m", "1.5g", "99999999999t", "1x"] {
            assert!(memory_size(wrong).is_err(), "{wrong}");
        }
    }
}
