//! Where archives are: what this machine's apt says (sources.list(5)), in both of
//! its forms, and the keys that it trusts for each.

use std::fs;
use std::path::{Path, PathBuf};

use thiserror::Error;
use url::Url;

use super::deb822::{self, Stanza};
use super::openpgp::{self, Keyring};

/// Where apt's settings are.
pub const DIRECTORY: &str = "/etc/apt";

/// Where packages put the keyrings of archives.
const KEYRINGS: &str = "/usr/share/keyrings";

/// Why no key is known.
#[derive(Debug, Error)]
pub enum Error {
    /// A keyring that can't be read.
    #[error("can't read the keyring {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file that is no keyring.
    #[error("{} is no keyring", path.display())]
    Keyring {
        /// The file, or the list of sources that has the keys in it.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: openpgp::Error,
    },
    /// Nothing on this machine has the keys of an archive.
    #[error("this machine has no keys of the archive `{archive}`")]
    NoKeys {
        /// The archive.
        archive: String,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoKeys { archive } => Some(format!(
                "set `key = FILE` in the recipe's base, or install {archive}-archive-keyring, whose files are public keys"
            )),
            Self::Unreadable { .. } | Self::Keyring { .. } => None,
        }
    }
}

/// An archive that apt knows.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its address.
    pub url: Url,
    /// The suites that are used of it.
    pub suites: Vec<String>,
    /// The list that it stands in.
    pub list: PathBuf,
    /// `Signed-By`: keyrings, or keys.
    pub signed_by: Option<String>,
}

/// The archives in the lists of `directory` (`/etc/apt`), in apt's order. Lists that
/// can't be read, and entries that are no archive of packages on the network, are
/// passed over, as they are of no use here.
pub fn entries(directory: &Path) -> Vec<Entry> {
    let parts = fs::read_dir(directory.join("sources.list.d"));
    let mut lists: Vec<PathBuf> = parts.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    lists.sort();
    lists.insert(0, directory.join("sources.list"));
    let mut entries = Vec::new();
    for list in lists {
        if let Ok(text) = fs::read_to_string(&list) {
            entries.extend(in_list(&list, &text));
        }
    }
    entries
}

/// The archives in the `list`, which has `text` in it.
pub fn in_list(list: &Path, text: &str) -> Vec<Entry> {
    match list.extension().and_then(|extension| extension.to_str()) {
        Some("list") => text.lines().filter_map(|line| one_line(line, list)).collect(),
        Some("sources") => deb822::stanzas(text).flat_map(|stanza| of_stanza(&stanza, list)).collect(),
        _ => Vec::new(),
    }
}

/// "deb [ option1=value1 option2=value2 ] uri suite [component1] …"
fn one_line(line: &str, list: &Path) -> Option<Entry> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb").filter(|rest| rest.starts_with([' ', '\t', '[']))?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
    let mut words = rest.split_whitespace();
    let (url, suite) = (archive(words.next()?)?, words.next()?);
    Some(Entry { url, suites: vec![suite.into()], list: list.to_owned(), signed_by: signed_by.map(Into::into) })
}

fn of_stanza(stanza: &Stanza<'_>, list: &Path) -> Vec<Entry> {
    let off = stanza.get("Enabled").is_some_and(|enabled| ["no", "false", "off", "0"].contains(&enabled));
    if off || !stanza.words("Types").any(|kind| kind == "deb") {
        return Vec::new();
    }
    let entry = |url| Entry {
        url,
        suites: stanza.words("Suites").map(Into::into).collect(),
        list: list.to_owned(),
        signed_by: stanza.get("Signed-By").map(|keys| keys.trim().into()),
    };
    stanza.words("URIs").filter_map(archive).map(entry).collect()
}

fn archive(uri: &str) -> Option<Url> {
    Url::parse(uri).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
}

/// The keys that are trusted for `entry`, or for any archive called `archive`.
///
/// # Errors
/// See [`Error`].
pub fn keyring(archive: &str, entry: Option<&Entry>) -> Result<Keyring, Error> {
    match entry.and_then(|entry| Some((entry.signed_by.as_deref()?, &entry.list))) {
        // "or an embedded GPG public key": an empty line of it stands as a dot
        Some((keys, list)) if keys.contains("-----BEGIN") => {
            let lines = keys.lines().map(|line| if line.trim() == "." { "" } else { line.trim() });
            let text = lines.flat_map(|line| [line, "\n"]).collect::<String>();
            Keyring::parse(text.as_bytes()).map_err(|source| Error::Keyring { path: list.clone(), source })
        }
        Some((files, _)) => {
            let files = files.split([',', ' ', '\n']).filter(|file| file.starts_with('/'));
            files.map(|file| read_keyring(Path::new(file))).try_fold(Keyring::default(), |mut all, keyring| {
                all.extend(keyring?);
                Ok(all)
            })
        }
        None => {
            let names = ["gpg", "pgp", "asc"].map(|suffix| format!("{KEYRINGS}/{archive}-archive-keyring.{suffix}"));
            let found = names.iter().map(Path::new).find(|path| path.is_file());
            read_keyring(found.ok_or_else(|| Error::NoKeys { archive: archive.to_owned() })?)
        }
    }
}

/// The keys in the file at `path`.
///
/// # Errors
/// [`Error::Unreadable`], [`Error::Keyring`].
pub fn read_keyring(path: &Path) -> Result<Keyring, Error> {
    let bytes = fs::read(path).map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
    Keyring::parse(&bytes).map_err(|source| Error::Keyring { path: path.to_owned(), source })
}
