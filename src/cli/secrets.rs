//! `--secret`: what `run` layers may ask for by name, and what nobody keeps.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use super::error::{ExitKind, Failure};
use crate::recipe;

/// A secret's name and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Secret {
    name: String,
    /// The environment variable of its name if there is no file.
    file: Option<PathBuf>,
}

/// Reads `NAME=FILE` or `NAME`.
pub fn parse(text: &str) -> Result<Secret, String> {
    let (name, file) = text.split_once('=').map_or((text, None), |(name, file)| (name, Some(file)));
    if file == Some("") {
        return Err("write NAME=FILE, or NAME for the environment variable NAME".to_owned());
    }
    if !recipe::is_secret_name(name) {
        return Err("a secret's name is letters, digits, `.`, `-` and `_`".to_owned());
    }
    Ok(Secret { name: name.to_owned(), file: file.map(PathBuf::from) })
}

/// The files of secrets, as long as this lives.
#[derive(Debug, Default)]
pub struct Secrets {
    /// By name.
    pub files: BTreeMap<String, PathBuf>,
    /// Those that came from the environment: in memory, for a killed build must not
    /// leave them on a disk.
    _in_memory: Vec<File>,
}

/// Opens `wanted`.
///
/// # Errors
/// If one can't be read.
pub fn open(wanted: &[Secret]) -> Result<Secrets, Failure> {
    let mut secrets = Secrets::default();
    for Secret { name, file } in wanted {
        let path = match file {
            Some(file) => std::fs::canonicalize(file).map_err(|source| {
                Failure::new(ExitKind::Usage, source)
                    .about(format!("can't read {} for the secret `{name}`", file.display()))
            })?,
            None => {
                let value = std::env::var_os(name).ok_or_else(|| {
                    Failure::new(
                        ExitKind::Usage,
                        format!("there is no environment variable {name} for the secret `{name}`"),
                    )
                    .hint(format!("set it, or name a file: --secret {name}=FILE"))
                })?;
                let file = in_memory(&value).map_err(|source| {
                    Failure::new(ExitKind::Other, source).about(format!("can't keep the secret `{name}` in memory"))
                })?;
                // proc(5): another process of this user opens it by this name
                let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
                secrets._in_memory.push(file);
                path.into()
            }
        };
        secrets.files.insert(name.clone(), path);
    }
    Ok(secrets)
}

fn in_memory(value: &OsString) -> std::io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("secret", rustix::fs::MemfdFlags::CLOEXEC)?);
    file.write_all(value.as_encoded_bytes())?;
    Ok(file)
}
