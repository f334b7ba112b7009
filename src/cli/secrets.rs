//! `--secret`: what `run` layers may ask for by name, and what nobody keeps.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

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
    /// Those that came from the environment.
    _in_memory: Vec<NamedTempFile>,
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
                let path = file.path().to_owned();
                secrets._in_memory.push(file);
                path
            }
        };
        secrets.files.insert(name.clone(), path);
    }
    Ok(secrets)
}

/// A file of this user's alone. tmpfs(5) keeps it in memory: a killed build must not
/// leave it on a disk. (A memfd won't do: from its user namespace the sandbox may not open
/// descriptors of this process.)
fn in_memory(value: &OsString) -> std::io::Result<NamedTempFile> {
    let shared_memory = Path::new("/dev/shm");
    let directory = if shared_memory.is_dir() { shared_memory.to_owned() } else { std::env::temp_dir() };
    let mut file = tempfile::Builder::new().prefix("dlpack-secret-").tempfile_in(directory)?;
    file.write_all(value.as_encoded_bytes())?;
    Ok(file)
}
