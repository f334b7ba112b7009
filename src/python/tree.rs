//! The trees of several installed wheels as the entries of one layer. The
//! compressed bytes of a wheel's files are passed on as they are; each is held
//! against RECORD while it goes by.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rawzip::ReaderAt;
use thiserror::Error;

use super::install::{Content, File, Installed};
use super::record::Check;
use super::scheme::Scheme;
use super::wheel::{self, Problem, Wheel};
use crate::layer::{self, LayerWriter};

/// Why wheels can't become a layer.
#[derive(Debug, Error)]
pub enum Error {
    /// A wheel is not what it should be.
    #[error(transparent)]
    Wheel(#[from] wheel::Error),
    /// Two wheels bring one path with different contents.
    #[error("{one} and {other} both bring `{path}`, with different contents")]
    Collision {
        /// The path, relative to the venv.
        path: String,
        /// One wheel.
        one: String,
        /// The other wheel.
        other: String,
    },
    /// A path is a file of one wheel and a directory of another.
    #[error("`{path}` of {wheel} is a directory for another wheel")]
    FileAndDirectory {
        /// The path, relative to the venv.
        path: String,
        /// The wheel that has a file there.
        wheel: String,
    },
    /// The layer does not take it.
    #[error(transparent)]
    Layer(#[from] layer::Error),
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Wheel(error) => error.hint(),
            Self::Collision { .. } | Self::FileAndDirectory { .. } => {
                Some("lock again with `dlpack lock`: the lock says which wheel brings the file".into())
            }
            Self::Layer(error) => error.hint(),
        }
    }
}

/// A wheel that is installed into a layer.
pub struct Source<R> {
    /// The wheel.
    pub wheel: Wheel<R>,
    /// What it becomes.
    pub installed: Installed,
    /// Files that are left out, relative to the venv: another wheel brings them.
    pub without: HashSet<String>,
}

/// Writes `sources` under `scheme`, all owned as it says, with the `bytecode` that lies on
/// disk, by its path relative to the venv; where a wheel brings a file, that is taken.
///
/// # Errors
/// [`Error`]; the layer is then incomplete and must be dropped.
pub fn write<R: ReaderAt>(
    sources: &[Source<R>],
    scheme: &Scheme,
    bytecode: &BTreeMap<String, PathBuf>,
    out: &mut LayerWriter,
) -> Result<(), Error> {
    let files = merged(sources)?;
    let directories = directories(&files, bytecode, scheme)?;
    let owned = directories.iter().chain(bytecode.keys()).map(String::as_str);
    let paths: BTreeSet<&str> = files.keys().copied().chain(owned).collect();
    let prefix = scheme.prefix().trim_start_matches('/');
    for path in paths {
        let absolute = format!("{prefix}/{path}");
        match (files.get(path), bytecode.get(path)) {
            (Some((source, file)), _) => write_file(&source.wheel, file, scheme, &absolute, out)?,
            (None, Some(disk)) => write_bytecode(disk, scheme, &absolute, out)?,
            (None, None) => out.directory(&absolute, scheme.attributes(0o755))?,
        }
    }
    Ok(())
}

type Files<'a, R> = BTreeMap<&'a str, (&'a Source<R>, &'a File)>;

/// The files of all wheels by path. A file that two bring is taken once, if they agree on it.
fn merged<R: ReaderAt>(sources: &[Source<R>]) -> Result<Files<'_, R>, Error> {
    let mut files: Files<'_, R> = BTreeMap::new();
    for source in sources {
        for file in source.installed.files().iter().filter(|file| !source.without.contains(&file.path)) {
            match files.get(file.path.as_str()) {
                Some((earlier, same)) if (same.size, same.crc32) != (file.size, file.crc32) => {
                    return Err(Error::Collision {
                        path: file.path.clone(),
                        one: earlier.wheel.name().to_string(),
                        other: source.wheel.name().to_string(),
                    });
                }
                Some(_) => {}
                None => {
                    files.insert(&file.path, (source, file));
                }
            }
        }
    }
    Ok(files)
}

/// The directories that the files need beyond those that every venv has. Several
/// layers may name one; they all say the same of it.
fn directories<R: ReaderAt>(
    files: &Files<'_, R>,
    bytecode: &BTreeMap<String, PathBuf>,
    scheme: &Scheme,
) -> Result<BTreeSet<String>, Error> {
    let present = scheme.directories();
    let mut directories = BTreeSet::new();
    for path in files.keys().copied().chain(bytecode.keys().map(String::as_str)) {
        for (end, _) in path.match_indices('/') {
            let directory = &path[..end];
            if let Some((source, _)) = files.get(directory) {
                let wheel = source.wheel.name().to_string();
                return Err(Error::FileAndDirectory { path: directory.to_owned(), wheel });
            }
            if !directories.contains(directory) && !present.iter().any(|present| present == directory) {
                directories.insert(directory.to_owned());
            }
        }
    }
    Ok(directories)
}

fn write_bytecode(disk: &Path, scheme: &Scheme, path: &str, out: &mut LayerWriter) -> Result<(), Error> {
    let unreadable = |source| layer::Error::Io { path: path.to_owned(), source };
    let content = std::fs::File::open(disk).map_err(unreadable)?;
    let size = content.metadata().map_err(unreadable)?.len();
    Ok(out.stream(path, scheme.attributes(0o644), size, content)?)
}

fn write_file<R: ReaderAt>(
    wheel: &Wheel<R>,
    file: &File,
    scheme: &Scheme,
    path: &str,
    out: &mut LayerWriter,
) -> Result<(), Error> {
    let attributes = scheme.attributes(file.mode);
    match &file.content {
        Content::Bytes(bytes) => out.file(path, attributes, bytes)?,
        Content::Entry { path: name, line } => {
            let entry =
                wheel.directory().find(name).ok_or_else(|| wheel.error(Problem::Missing { path: name.clone() }))?;
            let mut check = Check::new(line);
            if entry.size == 0 {
                out.file(path, attributes, &wheel.read(entry)?)?;
            } else if entry.deflated {
                let raw = wheel.raw(entry)?;
                out.deflated(path, attributes, entry.size, entry.crc32, raw, &mut |bytes| check.update(bytes))
                    .map_err(|error| blame(wheel, name, error))?;
            } else {
                let mut content =
                    Stored { inner: wheel.raw(entry)?, check: &mut check, crc32: crc32fast::Hasher::new() };
                out.stream(path, attributes, entry.size, &mut content).map_err(|error| blame(wheel, name, error))?;
                if content.crc32.finalize() != entry.crc32 {
                    return Err(wheel.error(Problem::Content { path: name.clone() }).into());
                }
            }
            check.finish(name).map_err(|problem| wheel.error(problem))?;
        }
    }
    Ok(())
}

/// A content that is not what was announced is the wheel's fault, not the layer's.
fn blame<R: ReaderAt>(wheel: &Wheel<R>, name: &str, error: layer::Error) -> Error {
    match error {
        layer::Error::Content { .. } => wheel.error(Problem::Content { path: name.to_owned() }).into(),
        other => other.into(),
    }
}

/// A stored content, checked as it is read.
struct Stored<'a, 'b, T> {
    inner: T,
    check: &'a mut Check<'b>,
    crc32: crc32fast::Hasher,
}

impl<T: Read> Read for Stored<'_, '_, T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.check.update(&buffer[..count]);
        self.crc32.update(&buffer[..count]);
        Ok(count)
    }
}
