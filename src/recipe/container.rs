//! How a container of the image is started where the command line says nothing: the
//! `[run]` table. It is no part of the image: no layer, key, digest or lock has it.

use std::collections::BTreeMap;
use std::str::FromStr;

/// What a container is started with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Container {
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
    /// Its ports that this machine has, too.
    pub ports: Vec<Publish>,
}

/// Where a container sees the directory that it is started in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cwd {
    /// At its working directory.
    Workdir,
    /// At this path of it.
    At(String),
}

/// A file or directory of this machine that a container sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// Where it is on this machine, `~/` being the caller's home.
    pub from: String,
    /// Where the container sees it, absolute.
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
            _ => (text, false),
        };
        let (from, to) = rest.rsplit_once(':').ok_or("write HOST:CONTAINER or HOST:CONTAINER:ro")?;
        if from.is_empty() || to.contains(',') {
            return Err("write HOST:CONTAINER or HOST:CONTAINER:ro".to_owned());
        }
        container_path(to)?;
        Ok(Self { from: from.to_owned(), to: to.to_owned(), read_only })
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
            _ => Err("it is `host` or `private`".to_owned()),
        }
    }
}

/// A port of a container that this machine has, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// This machine's address; loopback if not given.
    pub address: std::net::IpAddr,
    /// This machine's port.
    pub host: u16,
    /// The container's.
    pub container: u16,
}

impl FromStr for Publish {
    type Err = String;

    /// docker-run(1), `--publish`: `[ADDRESS:]HOST:CONTAINER[/tcp]`.
    fn from_str(text: &str) -> Result<Self, String> {
        let form = || "write HOST:CONTAINER or ADDRESS:HOST:CONTAINER, in TCP ports".to_owned();
        let (rest, container) = text.strip_suffix("/tcp").unwrap_or(text).rsplit_once(':').ok_or_else(form)?;
        let (address, host) = match rest.rsplit_once(':') {
            Some((address, host)) => {
                let bare = address.strip_prefix('[').and_then(|address| address.strip_suffix(']')).unwrap_or(address);
                (bare.parse().map_err(|_| form())?, host)
            }
            None => (std::net::Ipv4Addr::LOCALHOST.into(), rest),
        };
        let port = |text: &str| text.parse().ok().filter(|port| *port != 0).ok_or_else(form);
        Ok(Self { address, host: port(host)?, container: port(container)? })
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
        for wrong in ["/data", "", ":/data", "/a:b", "/a:/", "/a:/b/../c", "/a:/b:rx"] {
            assert!(bind(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ports_are_read_as_docker_has_them_and_are_loopbacks_by_default() {
        let publish = |text: &str| text.parse::<Publish>().map(|it| (it.address.to_string(), it.host, it.container));
        assert_eq!(publish("8888:80"), Ok(("127.0.0.1".into(), 8888, 80)));
        assert_eq!(publish("0.0.0.0:8888:80/tcp"), Ok(("0.0.0.0".into(), 8888, 80)));
        assert_eq!(publish("[::1]:22:22"), Ok(("::1".into(), 22, 22)));
        for wrong in ["80", "0:80", "80:65536", "host:80:80", "80:80/udp"] {
            assert!(publish(wrong).is_err(), "{wrong}");
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
