//! Packages unpacked into an empty root filesystem, before anything of them has run:
//! what `dpkg --unpack` leaves, as a layer. The archives' own files are a function of
//! the packages alone, so no sandbox is needed for them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use md5::{Digest as _, Md5};
use thiserror::Error;

use super::deb::{self, Deb};
use super::deb822;
use crate::layer::{self, Attributes, LayerWriter};

/// The directories that are links into `/usr` (Debian's merged-/usr; file-hierarchy(7)).
const MERGED: [&str; 6] = ["bin", "lib", "lib32", "lib64", "libx32", "sbin"];

/// dpkg's database.
const DATABASE: &str = "var/lib/dpkg";

/// Why packages can't be unpacked.
#[derive(Debug, Error)]
pub enum Error {
    /// A package can't be opened.
    #[error(transparent)]
    Deb(#[from] deb::Error),
    /// Something is missing in what a package says of itself.
    #[error("`{package}` has no control file that can be read")]
    Control {
        /// The package.
        package: String,
    },
    /// What no package brings: a device, a socket.
    #[error("`{package}` has a `{path}` that is neither file, directory nor link")]
    Kind {
        /// The package.
        package: String,
        /// The path.
        path: String,
    },
    /// Two packages with the same file: dpkg refuses them, too.
    #[error("`{package}` and another package both have {path}")]
    Twice {
        /// The later package.
        package: String,
        /// The path.
        path: String,
    },
    /// The files can't be kept until they are all known.
    #[error("can't {doing} a file in {}", path.display())]
    Spool {
        /// `create`, `write`, `read`.
        doing: &'static str,
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The layer does not take it.
    #[error(transparent)]
    Layer(#[from] layer::Error),
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Twice { .. } => Some("leave one of them out of the base, and install it in an `apt` layer".into()),
            Self::Spool { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space with `dlpack cache gc`, or name another place with --store".into())
            }
            Self::Layer(error) => error.hint(),
            _ => None,
        }
    }
}

/// Where the content of a file is.
enum Content {
    /// In the spool, from there and so long.
    Spooled(u64, u64),
    /// At hand.
    Bytes(Vec<u8>),
}

enum Kind {
    Directory,
    File(Content),
    Symlink(String),
    HardLink(String),
}

struct Entry {
    attributes: Attributes,
    kind: Kind,
}

/// Packages on their way into one root filesystem.
pub struct Unpacked {
    entries: BTreeMap<String, Entry>,
    spool: File,
    spooled: u64,
    scratch: PathBuf,
    /// dpkg's `status`, a stanza a package.
    status: String,
    /// The interests in triggers: name, and who is interested.
    triggers: BTreeMap<String, BTreeSet<String>>,
}

impl Unpacked {
    /// Nothing yet. What is unpacked is kept in a file in `scratch` until it is written.
    ///
    /// # Errors
    /// [`Error::Spool`].
    pub fn new(scratch: &Path) -> Result<Self, Error> {
        let spool = fs::create_dir_all(scratch).and_then(|()| tempfile::tempfile_in(scratch));
        let spool = spool.map_err(|source| spool_error("create", scratch, source))?;
        let scratch = scratch.to_owned();
        let (entries, triggers) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { entries, spool, spooled: 0, scratch, status: String::new(), triggers })
    }

    /// Unpacks `package`, which errors call `name`.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn add(&mut self, name: &str, package: impl Read) -> Result<(), Error> {
        let Deb { control, data } = deb::open(name, package)?;
        let no_control = || Error::Control { package: name.to_owned() };
        let text = control.get("control").and_then(|text| str::from_utf8(text).ok()).ok_or_else(no_control)?;
        let fields = deb822::stanzas(text).next().ok_or_else(no_control)?;
        let of = fields.get("Package").ok_or_else(no_control)?;
        // "libc6:amd64": those that may be there for several architectures have it in the name
        let of = match (fields.get("Multi-Arch"), fields.get("Architecture")) {
            (Some("same"), Some(architecture)) => format!("{of}:{architecture}"),
            _ => of.to_owned(),
        };
        let list = self.files(name, data)?;
        self.own(&format!("{DATABASE}/info/{of}.list"), 0o644, list.into_bytes());
        for (file, content) in &control {
            let script = ["preinst", "postinst", "prerm", "postrm", "config"].contains(&file.as_str());
            if file != "control" {
                let mode = if script { 0o755 } else { 0o644 };
                self.own(&format!("{DATABASE}/info/{of}.{file}"), mode, content.clone());
            }
        }
        self.record(name, text, control.get("conffiles"))?;
        self.interests(&of, control.get("triggers"));
        Ok(())
    }

    /// A file that no package has.
    pub fn own(&mut self, path: &str, mode: u32, content: Vec<u8>) {
        for parent in layer_parents(path) {
            let directory = || Entry { attributes: Attributes::root(0o755), kind: Kind::Directory };
            self.entries.entry(parent.to_owned()).or_insert_with(directory);
        }
        let kind = Kind::File(Content::Bytes(content));
        self.entries.insert(path.to_owned(), Entry { attributes: Attributes::root(mode), kind });
    }

    /// Whether a package has `path`.
    pub fn has(&self, path: &str) -> bool {
        self.entries.contains_key(path)
    }

    /// Takes in a package's files; their names as dpkg's `list` has them.
    fn files(&mut self, package: &str, data: Box<dyn Read + '_>) -> Result<String, Error> {
        let io = |source| Error::Deb(deb::Error::Io { package: package.to_owned(), source });
        let mut list = String::new();
        for entry in tar::Archive::new(data).entries().map_err(io)? {
            let mut entry = entry.map_err(io)?;
            let shipped = entry.path().map_err(io)?.to_string_lossy().trim_end_matches('/').to_owned();
            let shipped = shipped.strip_prefix("./").unwrap_or(&shipped).trim_start_matches('/').to_owned();
            if shipped.is_empty() || shipped == "." {
                list.push_str("/.\n");
                continue;
            }
            list.push_str(&format!("/{shipped}\n"));
            let (header, path) = (entry.header().clone(), merged(&shipped));
            let link = entry.link_name().map_err(io)?.map(|link| link.to_string_lossy().into_owned());
            let kind = match (header.entry_type(), link) {
                (tar::EntryType::Directory, _) => Kind::Directory,
                (tar::EntryType::Regular | tar::EntryType::Continuous, _) => Kind::File(self.spool(&mut entry)?),
                (tar::EntryType::Symlink, Some(link)) => Kind::Symlink(link),
                (tar::EntryType::Link, Some(link)) => {
                    Kind::HardLink(merged(link.strip_prefix("./").unwrap_or(&link).trim_start_matches('/')))
                }
                _ => return Err(Error::Kind { package: package.to_owned(), path: shipped }),
            };
            let number = |number: io::Result<u64>| number.map(|number| number as u32).map_err(io);
            let (mode, uid, gid) = (header.mode().map_err(io)?, number(header.uid())?, number(header.gid())?);
            let attributes = Attributes { mode: mode & 0o7777, uid, gid };
            self.insert(package, &shipped, path, Entry { attributes, kind })?;
        }
        Ok(list)
    }

    fn insert(&mut self, package: &str, shipped: &str, path: String, entry: Entry) -> Result<(), Error> {
        // The links of a merged /usr are made here, whoever else brings them, too.
        if MERGED.contains(&shipped) {
            return Ok(());
        }
        match (self.entries.get(&path), &entry.kind) {
            // dpkg leaves a directory that is there as it is.
            (Some(Entry { kind: Kind::Directory, .. }), Kind::Directory) => return Ok(()),
            (Some(_), _) => return Err(Error::Twice { package: package.to_owned(), path: format!("/{shipped}") }),
            (None, _) => {}
        }
        self.entries.insert(path, entry);
        Ok(())
    }

    fn spool(&mut self, content: &mut impl Read) -> Result<Content, Error> {
        let length = io::copy(content, &mut self.spool);
        let length = length.map_err(|source| spool_error("write", &self.scratch, source))?;
        self.spooled += length;
        Ok(Content::Spooled(self.spooled - length, length))
    }

    /// The package's stanza in `status` (dpkg's `lib/dpkg/parse.c` reads it back).
    fn record(&mut self, name: &str, control: &str, conffiles: Option<&Vec<u8>>) -> Result<(), Error> {
        let no_control = || Error::Control { package: name.to_owned() };
        let (first, rest) = control.trim().split_once('\n').ok_or_else(no_control)?;
        self.status.push_str(&format!("{first}\nStatus: install ok unpacked\n{rest}\n"));
        let conffiles = conffiles.map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default();
        let mut lines = String::new();
        for path in conffiles.lines().filter(|line| line.starts_with('/')) {
            let hash = self.md5(&merged(path.trim_start_matches('/')))?;
            lines.push_str(&format!(" {path} {hash}\n"));
        }
        if !lines.is_empty() {
            self.status.push_str(&format!("Conffiles:\n{lines}"));
        }
        self.status.push('\n');
        Ok(())
    }

    /// The hash of a configuration file, by which dpkg tells whether somebody changed it.
    fn md5(&mut self, path: &str) -> Result<String, Error> {
        let mut hash = Md5::new();
        if let Some(Entry { kind: Kind::File(Content::Spooled(at, length)), .. }) = self.entries.get(path) {
            let (at, length) = (*at, *length);
            let mut content = Vec::new();
            let read = self.spool.seek(SeekFrom::Start(at)).and_then(|_| {
                Read::by_ref(&mut self.spool).take(length).read_to_end(&mut content)?;
                self.spool.seek(SeekFrom::End(0))
            });
            read.map_err(|source| spool_error("read", &self.scratch, source))?;
            hash.update(&content);
        }
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// What a package waits for others to touch (deb-triggers(5)).
    fn interests(&mut self, package: &str, triggers: Option<&Vec<u8>>) {
        let text = triggers.map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let suffix = match words.next() {
                Some("interest" | "interest-await") => "",
                Some("interest-noawait") => "/noawait",
                _ => continue,
            };
            if let Some(name) = words.next() {
                self.triggers.entry(name.to_owned()).or_default().insert(format!("{package}{suffix}"));
            }
        }
    }

    /// dpkg's database: what it would have written while it unpacked.
    fn database(&mut self) {
        let status = std::mem::take(&mut self.status);
        self.own(&format!("{DATABASE}/status"), 0o644, status.into_bytes());
        self.own(&format!("{DATABASE}/available"), 0o644, Vec::new());
        self.own(&format!("{DATABASE}/info/format"), 0o644, b"1\n".to_vec());
        let mut of_files = String::new();
        for (name, packages) in std::mem::take(&mut self.triggers) {
            if name.starts_with('/') {
                of_files.extend(packages.iter().map(|package| format!("{name} {package}\n")));
            } else {
                let lines: String = packages.iter().map(|package| format!("{package}\n")).collect();
                self.own(&format!("{DATABASE}/triggers/{name}"), 0o644, lines.into_bytes());
            }
        }
        self.own(&format!("{DATABASE}/triggers/File"), 0o644, of_files.into_bytes());
    }

    /// Of the names of a file, that which comes first has it, and the others lead there: a
    /// tar has the file first.
    fn sort_links(&mut self) {
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (path, entry) in &self.entries {
            if let Kind::HardLink(to) = &entry.kind {
                names.entry(to.clone()).or_default().push(path.clone());
            }
        }
        for (file, mut names) in names {
            let Some(entry) = self.entries.remove(&file) else { continue };
            names.push(file);
            names.sort();
            let (first, attributes) = (names.remove(0), entry.attributes);
            for name in names {
                self.entries.insert(name, Entry { attributes, kind: Kind::HardLink(first.clone()) });
            }
            self.entries.insert(first, entry);
        }
    }

    /// Writes all of it as a layer.
    ///
    /// # Errors
    /// [`Error::Layer`], [`Error::Spool`].
    pub fn write(mut self, out: &mut LayerWriter) -> Result<(), Error> {
        self.database();
        for directory in MERGED {
            let target = format!("usr/{directory}");
            let always = ["bin", "lib", "sbin"].contains(&directory);
            if always || self.entries.range(format!("{target}/")..format!("{target}0")).next().is_some() {
                let link = Entry { attributes: Attributes::root(0o777), kind: Kind::Symlink(target.clone()) };
                self.entries.insert(directory.to_owned(), link);
                let directory = || Entry { attributes: Attributes::root(0o755), kind: Kind::Directory };
                self.entries.entry(target).or_insert_with(directory);
            }
        }
        self.sort_links();
        let Self { entries, mut spool, scratch, .. } = self;
        spool.flush().map_err(|source| spool_error("write", &scratch, source))?;
        for (path, Entry { attributes, kind }) in entries {
            match kind {
                Kind::Directory => out.directory(&path, attributes)?,
                Kind::File(Content::Bytes(bytes)) => out.file(&path, attributes, &bytes)?,
                Kind::File(Content::Spooled(at, length)) => {
                    spool.seek(SeekFrom::Start(at)).map_err(|source| spool_error("read", &scratch, source))?;
                    out.stream(&path, attributes, length, Read::by_ref(&mut spool).take(length))?;
                }
                Kind::Symlink(target) => out.symlink(&path, attributes, &target)?,
                // this layer has one part
                Kind::HardLink(to) => _ = out.hard_link(&path, attributes, &to)?,
            }
        }
        Ok(())
    }
}

fn spool_error(doing: &'static str, scratch: &Path, source: io::Error) -> Error {
    Error::Spool { doing, path: scratch.to_owned(), source }
}

/// Where a path lies once `/bin` and the like are links into `/usr`.
fn merged(path: &str) -> String {
    let top = path.split('/').next().unwrap_or_default();
    if MERGED.contains(&top) { format!("usr/{path}") } else { path.to_owned() }
}

/// The directories above `path`.
fn layer_parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}
