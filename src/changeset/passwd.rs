//! The base's account files, amended line by line: passwd(5), group(5), shadow(5)
//! and gshadow(5). Lines that nothing is said about stay as they are, byte for byte.

use std::fmt;

use serde_json::{Value, json};

use super::account::{Error, Identity, content};
use crate::layer::Attributes;
use crate::lock::{BaseFile, FileKind};
use crate::oci::Digest;

/// One of the account files.
#[derive(Clone)]
pub(super) struct AccountFile {
    /// Where it lies, without a leading slash.
    pub path: &'static str,
    /// As in the base.
    pub attributes: Attributes,
    lines: Vec<String>,
}

/// Without the lines, for those of shadow(5) hold hashes.
impl fmt::Debug for AccountFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl AccountFile {
    /// The file at `path` with `content`.
    pub(super) fn new(path: &'static str, attributes: Attributes, content: &str) -> Self {
        Self { path, attributes, lines: content.lines().map(str::to_owned).collect() }
    }

    /// The fields of the entry called `name`.
    pub(super) fn named(&self, name: &str) -> Option<Vec<String>> {
        self.entries().find(|fields| fields[0] == name)
    }

    /// The fields of the first entry whose `field` is the number `id`.
    pub(super) fn numbered(&self, field: usize, id: u32) -> Option<Vec<String>> {
        self.entries().find(|fields| number(fields, field) == Some(id))
    }

    fn entries(&self) -> impl Iterator<Item = Vec<String>> {
        self.lines.iter().map(|line| line.split(':').map(str::to_owned).collect())
    }

    /// Puts the entry `fields` in the place of the one of its name, or at the end.
    pub(super) fn set(&mut self, fields: &[String]) {
        let line = fields.join(":");
        match self.lines.iter_mut().find(|old| old.split(':').next() == fields.first().map(String::as_str)) {
            Some(old) => *old = line,
            None => self.lines.push(line),
        }
    }

    /// Adds `user` to the members of `group`, the last field of group(5) and of
    /// gshadow(5); whether there is such a group.
    pub(super) fn add_member(&mut self, group: &str, user: &str) -> bool {
        let Some(mut fields) = self.named(group) else { return false };
        if let Some(members) = fields.get_mut(3)
            && !members.split(',').any(|member| member == user)
        {
            if !members.is_empty() {
                members.push(',');
            }
            members.push_str(user);
            self.set(&fields);
        }
        true
    }

    /// The file's text.
    pub(super) fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }
}

/// The account files of a root filesystem, those of shadow(5) included.
#[derive(Clone, Debug)]
pub(super) struct AccountFiles {
    pub passwd: AccountFile,
    pub group: AccountFile,
    pub shadow: AccountFile,
    /// Only where the base has one.
    pub gshadow: Option<AccountFile>,
}

impl AccountFiles {
    /// Those among `base`'s files. What it hasn't got is begun with root alone.
    pub(super) fn of(base: &[BaseFile]) -> Result<Self, Error> {
        let group = read(base, "etc/group")?
            .unwrap_or_else(|| AccountFile::new("etc/group", Attributes::root(0o644), "root:x:0:\n"));
        let passwd = read(base, "etc/passwd")?.unwrap_or_else(|| {
            AccountFile::new("etc/passwd", Attributes::root(0o644), "root:x:0:0:root:/root:/bin/sh\n")
        });
        let shadow = read(base, "etc/shadow")?
            .unwrap_or_else(|| AccountFile::new("etc/shadow", Attributes::root(0o600), "root:*::0:99999:7:::\n"));
        Ok(Self { passwd, group, shadow, gshadow: read(base, "etc/gshadow")? })
    }

    /// Makes or amends the lines of `account`, with `password` in shadow(5).
    pub(super) fn set_user(&mut self, account: &Identity, password: &str) {
        let Identity { user, uid, gid, shell, home, .. } = account;
        let line = |fields: [&str; 7]| fields.map(str::to_owned);
        let (uid, gid_text) = (uid.to_string(), gid.to_string());
        let comment = self.passwd.named(user).and_then(|fields| fields.get(4).cloned()).unwrap_or_default();
        self.passwd.set(&line([user, "x", &uid, &gid_text, &comment, home, shell]));
        // shadow(5), date of last change: "An empty field means that password aging features
        // are disabled." A date would make the layer a function of the day.
        self.shadow.set(&[user, password, "", "0", "99999", "7", "", "", ""].map(str::to_owned));
        if self.group.numbered(2, *gid).is_none() && self.group.named(user).is_none() {
            self.group.set(&[user, "x", &gid_text, ""].map(str::to_owned));
            if let Some(gshadow) = &mut self.gshadow {
                gshadow.set(&[user, "!", "", ""].map(str::to_owned));
            }
        }
    }

    /// Adds `user` to `group`; whether there is such a group.
    pub(super) fn add_member(&mut self, group: &str, user: &str) -> bool {
        let known = self.group.add_member(group, user);
        if let Some(gshadow) = self.gshadow.as_mut().filter(|_| known) {
            gshadow.add_member(group, user);
        }
        known
    }

    /// The lowest uid from `above` on that nobody has.
    pub(super) fn free_uid(&self, above: u32) -> u32 {
        (above..u32::MAX).find(|uid| self.passwd.numbered(2, *uid).is_none()).unwrap_or(above)
    }

    /// All that there are.
    pub(super) fn all(&self) -> impl Iterator<Item = &AccountFile> {
        [&self.passwd, &self.group, &self.shadow].into_iter().chain(&self.gshadow)
    }

    /// What stands for them in a key. A hash, for shadow(5) may hold hashes.
    pub(super) fn fingerprint(&self) -> Value {
        let file = |file: &AccountFile| {
            let Attributes { mode, uid, gid } = file.attributes;
            json!([file.path, mode, uid, gid, Digest::of(file.text().as_bytes()).to_string()])
        };
        self.all().map(file).collect()
    }
}

fn read(base: &[BaseFile], path: &'static str) -> Result<Option<AccountFile>, Error> {
    let Some(file) = base.iter().find(|file| file.path == path) else { return Ok(None) };
    let wrong = |what: &str| Error::BaseFile { path: path.to_owned(), what: what.to_owned() };
    if file.kind != FileKind::File {
        return Err(wrong("it is not a regular file"));
    }
    let text = String::from_utf8(content(file)?).map_err(|_| wrong("it is not UTF-8"))?;
    let attributes = Attributes { mode: file.mode, uid: file.uid, gid: file.gid };
    Ok(Some(AccountFile::new(path, attributes, &text)))
}

/// The number in field `field` of an entry.
pub(super) fn number(fields: &[String], field: usize) -> Option<u32> {
    fields.get(field)?.parse().ok()
}
