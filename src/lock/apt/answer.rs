//! What apt answers when it is asked what it would install.

use std::collections::HashMap;

use super::Error;
use crate::apt::deb822::{self, Stanza};
use crate::lock::model::LockedDeb;
use crate::oci::Digest;

/// Three answers of apt's to one question.
pub(super) struct Answer<'a> {
    /// `apt-get --simulate`.
    pub(super) simulation: &'a str,
    /// `apt-get --print-uris`.
    pub(super) uris: &'a str,
    /// `apt-cache show` of what would be installed.
    pub(super) records: &'a str,
}

/// A package that would be installed.
#[derive(Debug, PartialEq)]
pub(super) struct Chosen {
    /// Its archive's address.
    pub(super) archive: String,
    /// The package, as if from the first archive.
    pub(super) deb: LockedDeb,
}

impl Answer<'_> {
    /// What would be installed, by name and architecture.
    pub(super) fn chosen(&self, layer: &str) -> Result<Vec<Chosen>, Error> {
        let records: Vec<Stanza<'_>> = deb822::stanzas(self.records).collect();
        let chosen = self.uris.lines().filter_map(uri).map(|uri| find(uri, &records, layer));
        let mut chosen = chosen.collect::<Result<Vec<_>, _>>()?;
        chosen.sort_by(|a, b| (&a.deb.name, &a.deb.architecture).cmp(&(&b.deb.name, &b.deb.architecture)));
        let installed = self.simulation.lines().filter(|line| line.starts_with("Inst ")).count();
        match installed == chosen.len() {
            true => Ok(chosen),
            false => Err(Error::Answer { layer: layer.to_owned(), installed, found: chosen.len() }),
        }
    }

    /// The packages that would be removed.
    pub(super) fn removed(&self) -> impl Iterator<Item = &str> {
        self.simulation.lines().filter_map(|line| line.strip_prefix("Remv ")?.split(' ').next())
    }

    /// The names of the packages that `asked` means: without versions, and what is
    /// provided by one package alone by that one's name.
    pub(super) fn manual(&self, asked: &[String]) -> Vec<String> {
        // `Note, selecting 'PACKAGE' instead of 'NAME'`
        let note = |line: &str| {
            let (package, name) = line.strip_prefix("Note, selecting '")?.split_once("' instead of '")?;
            Some((name.trim_end_matches('\'').to_owned(), package.to_owned()))
        };
        let instead: HashMap<String, String> = self.simulation.lines().filter_map(note).collect();
        let name = |asked: &String| {
            let name = asked.split('=').next().unwrap_or_default();
            instead.get(name).cloned().unwrap_or_else(|| name.to_owned())
        };
        let mut manual: Vec<String> = asked.iter().map(name).collect();
        manual.sort();
        manual.dedup();
        manual
    }
}

/// The address in a line of `--print-uris`: `'URI' NAME SIZE HASH`.
fn uri(line: &str) -> Option<&str> {
    line.strip_prefix('\'')?.split('\'').next()
}

/// The package at `uri`, by the record whose file name its address ends in.
fn find(uri: &str, records: &[Stanza<'_>], layer: &str) -> Result<Chosen, Error> {
    let plain = decoded(uri);
    if !plain.starts_with("http://") && !plain.starts_with("https://") {
        return Err(Error::Scheme { layer: layer.to_owned(), uri: uri.to_owned() });
    }
    let found = records.iter().find_map(|record| {
        let archive = plain.strip_suffix(record.get("Filename")?)?.strip_suffix('/')?;
        Some((archive, record))
    });
    let unknown = |what| Error::Record { layer: layer.to_owned(), uri: uri.to_owned(), what };
    let (archive, record) = found.ok_or_else(|| unknown("record"))?;
    let text = |field| record.get(field).ok_or_else(|| unknown(field)).map(str::to_owned);
    Ok(Chosen {
        archive: archive.trim_end_matches('/').to_owned(),
        deb: LockedDeb {
            name: text("Package")?,
            version: text("Version")?,
            architecture: text("Architecture")?,
            source: 0,
            path: text("Filename")?,
            sha256: Digest::from_hex(&text("SHA256")?).map_err(|_| unknown("SHA256"))?,
            size: text("Size")?.parse().map_err(|_| unknown("Size"))?,
        },
    })
}

/// `uri` without percent-encoding (RFC 3986, 2.1): apt encodes what some servers would
/// take for something else.
fn decoded(uri: &str) -> String {
    let mut parts = uri.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => bytes.extend([&[byte], &part.as_bytes()[2..]].concat()),
            None => bytes.extend([b"%", part.as_bytes()].concat()),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIMULATION: &str = "\
NOTE: This is only a simulation!
Note, selecting 'real' instead of 'virtual'
Remv old [1.0]
Inst real (1:2.0+b1 Debian:12/stable [amd64])
Inst lib [1.0] (2.0~rc1 Debian:12/stable, Debian-Security:12/stable [all]) []
Conf real (1:2.0+b1 Debian:12/stable [amd64])
";

    const URIS: &str = "\
'http://archive/debian/pool/r/real_2.0%2bb1_amd64.deb' real_1%3a2.0+b1_amd64.deb 10 MD5Sum:00
'http://archive/security/./lib_2.0%7erc1_all.deb' lib_2.0~rc1_all.deb 20
";

    fn records() -> String {
        let record = |fields: [&str; 4], sha256: u8| {
            let [name, version, architecture, file] = fields;
            format!(
                "Package: {name}\nVersion: {version}\nArchitecture: {architecture}\nFilename: {file}\nSize: 7\n\
                 SHA256: {}\nDescription: x\n .\n\n",
                format!("{sha256:02x}").repeat(32)
            )
        };
        record(["lib", "2.0~rc1", "all", "pool/lib_2.0~rc1_all.deb"], 1)
            + &record(["lib", "2.0~rc1", "all", "./lib_2.0~rc1_all.deb"], 2)
            + &record(["real", "1:2.0+b1", "amd64", "pool/r/real_2.0+b1_amd64.deb"], 3)
    }

    #[test]
    fn each_package_is_found_with_its_archive_hash_and_size() {
        let records = records();
        let answer = Answer { simulation: SIMULATION, uris: URIS, records: &records };
        let chosen = answer.chosen("apt").unwrap();
        let told: Vec<_> = chosen.iter().map(|found| (found.archive.as_str(), found.deb.path.as_str())).collect();
        let expected = [
            ("http://archive/security", "./lib_2.0~rc1_all.deb"),
            ("http://archive/debian", "pool/r/real_2.0+b1_amd64.deb"),
        ];
        assert_eq!(told, expected);
        assert_eq!((chosen[1].deb.version.as_str(), chosen[1].deb.size), ("1:2.0+b1", 7));
        assert_eq!(chosen[0].deb.sha256.hex(), "02".repeat(32), "the record of the address, not of the version");
        assert_eq!(answer.removed().collect::<Vec<_>>(), ["old"]);
        let asked = ["virtual".to_owned(), "lib=2.0~rc1".to_owned(), "lib".to_owned()];
        assert_eq!(answer.manual(&asked), ["lib", "real"]);
    }

    #[test]
    fn a_package_that_is_not_found_whole_is_an_error() {
        let records = records();
        let error = |uris: &str, records: &str| {
            let answer = Answer { simulation: SIMULATION, uris, records };
            answer.chosen("apt").unwrap_err()
        };
        assert!(matches!(error(&URIS.replace("http://", "cdrom://"), &records), Error::Scheme { .. }));
        assert!(matches!(error(URIS, ""), Error::Record { what: "record", .. }));
        assert!(matches!(error(URIS, &records.replace("SHA256", "SHA512")), Error::Record { what: "SHA256", .. }));
        assert!(matches!(error(URIS.lines().next().unwrap(), &records), Error::Answer { installed: 2, found: 1, .. }));
    }
}
