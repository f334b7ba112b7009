//! A user account: its lines in the base's account files, its home from the base's
//! skeleton, its authorised keys, and a venv of its own over the shared one.

use std::path::Path;

use thiserror::Error;

use super::entries::Entries;
use super::home::Home;
use super::passwd::{AccountFiles, number};
use super::password::{self, PasswordHash};
use super::{Changeset, Inputs};
use crate::layer::{Attributes, LayerWriter};
use crate::lock::{BaseFile, Lock, LockedLayer};
use crate::oci::ImageConfig;
use crate::python::scheme::InvalidVersion;
use crate::recipe::{self, LayerKind};
use crate::sandbox::Rootfs;

/// The length that utmp(5) and ps(1) have room for.
const LONGEST_NAME: usize = 32;

/// Why an account can't be made.
#[derive(Debug, Error)]
pub enum Error {
    /// Not a name that Debian's adduser would take.
    #[error("`{name}` can't be a user name")]
    Name {
        /// The name.
        name: String,
    },
    /// A shell, home or group with a character that account files can't hold, or a
    /// path that is not absolute.
    #[error("account {user}: `{value}` can't be its {field}")]
    Field {
        /// The account.
        user: String,
        /// `shell`, `home` …
        field: &'static str,
        /// What the recipe says.
        value: String,
    },
    /// The uid is another user's in the base.
    #[error("account {user}: uid {uid} is {holder}'s in the base")]
    UidTaken {
        /// The account.
        user: String,
        /// The uid.
        uid: u32,
        /// Who has it.
        holder: String,
        /// The lowest one from there on that nobody has.
        free: u32,
    },
    /// The base has the user or group with another id than the recipe says.
    #[error("account {user}: the base has the {what} {user} as {found}, the recipe says {wanted}")]
    IdDiffers {
        /// The account.
        user: String,
        /// `user` or `group`.
        what: &'static str,
        /// The base's id.
        found: u32,
        /// The recipe's.
        wanted: u32,
    },
    /// A group that the base hasn't got.
    #[error("account {user}: the base has no group {group}")]
    NoGroup {
        /// The account.
        user: String,
        /// The group.
        group: String,
    },
    /// A file of the base that is not what it should be.
    #[error("the base's /{path} can't be amended: {what}")]
    BaseFile {
        /// The file, without a leading slash.
        path: String,
        /// Why not.
        what: String,
    },
    /// The recipe has no such venv.
    #[error("account {user}: the recipe has no venv at {path}")]
    NoVenv {
        /// The account.
        user: String,
        /// The venv.
        path: String,
    },
    /// The venv's version of Python is none.
    #[error("account {user}: the venv {path} can't be used")]
    Python {
        /// The account.
        user: String,
        /// The venv.
        path: String,
        /// What is wrong with it.
        #[source]
        source: InvalidVersion,
    },
    /// There is no hash to be had.
    #[error("account {user} has no password")]
    Password {
        /// The account.
        user: String,
        /// Why.
        #[source]
        source: password::Error,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Name { .. } => {
                Some(format!("a small letter or `_`, then small letters, digits, `_`, `-`; at most {LONGEST_NAME}"))
            }
            Self::Field { .. } => Some("write an absolute path, without `..` and `:`".into()),
            Self::UidTaken { holder, free, .. } => {
                Some(format!("take that account over with `user = \"{holder}\"`, or set `uid = {free}`"))
            }
            Self::IdDiffers { what, found, .. } => {
                let field = if *what == "user" { "uid" } else { "gid" };
                Some(format!("leave `{field}` out to use the base's {found}, or take another name"))
            }
            Self::NoGroup { .. } => Some("an account joins groups that the base has".into()),
            Self::BaseFile { .. } => {
                Some("take another base: an account needs this file to be a regular one, in UTF-8".into())
            }
            Self::NoVenv { .. } => Some("name the `path` of a venv layer, or leave `venv` out".into()),
            Self::Python { source, .. } => source.hint(),
            Self::Password { source, .. } => source.hint(),
        }
    }
}

/// Who it is, after the base has had its say.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub user: String,
    pub uid: u32,
    pub gid: u32,
    pub shell: String,
    /// Absolute.
    pub home: String,
    /// Whether the base has the account and its home already.
    pub taken_over: bool,
}

/// Makes one account.
#[derive(Debug)]
pub struct Account {
    identity: Identity,
    groups: Vec<String>,
    password: Option<PasswordHash>,
    files: AccountFiles,
    files_before: AccountFiles,
    home: Home,
}

/// The changesets of the `account` layers of `lock`, each with the index of its
/// layer. Each amends the account files as the one before it leaves them.
/// `directory` is the recipe's, where a password's secret may lie.
///
/// # Errors
/// See [`Error`].
pub fn changesets(lock: &Lock, directory: &Path) -> Result<Vec<(usize, Account)>, Error> {
    let mut files = AccountFiles::of(&lock.base)?;
    let mut accounts = Vec::new();
    for (index, (layer, locked)) in lock.recipe.layers.iter().zip(&lock.layers).enumerate() {
        let (LayerKind::Account(recipe), LockedLayer::Account { uid, gid, authorized_keys, .. }) =
            (&layer.kind, locked)
        else {
            continue;
        };
        let account = account(recipe, (*uid, *gid), authorized_keys, files, lock, directory)?;
        files = account.files.clone();
        accounts.push((index, account));
    }
    Ok(accounts)
}

fn account(
    recipe: &recipe::Account,
    ids: (u32, u32),
    authorized_keys: &[String],
    files_before: AccountFiles,
    lock: &Lock,
    directory: &Path,
) -> Result<Account, Error> {
    let identity = identify(recipe, ids, &files_before)?;
    let password = recipe
        .password_secret
        .as_ref()
        .map(|secret| PasswordHash::read(secret, directory))
        .transpose()
        .map_err(|source| Error::Password { user: identity.user.clone(), source })?;
    let home = Home::new(&identity, recipe.venv.as_deref(), authorized_keys, lock)?;
    let mut files = files_before.clone();
    // shadow(5): a field that no password hashes to is a locked password. Not `!`: sshd
    // without PAM takes an account whose field begins with it for locked altogether.
    files.set_user(&identity, password.as_ref().map_or("*", PasswordHash::reveal));
    for group in &recipe.groups {
        if !files.add_member(group, &identity.user) {
            return Err(Error::NoGroup { user: identity.user, group: group.clone() });
        }
    }
    Ok(Account { identity, groups: recipe.groups.clone(), password, files, files_before, home })
}

fn identify(recipe: &recipe::Account, (uid, gid): (u32, u32), base: &AccountFiles) -> Result<Identity, Error> {
    let user = &recipe.user;
    if !is_name(user) {
        return Err(Error::Name { name: user.clone() });
    }
    let differs = |what, found, wanted| Error::IdDiffers { user: user.clone(), what, found, wanted };
    let in_base = base.passwd.named(user);
    let field = |index: usize| in_base.as_ref().and_then(|fields| fields.get(index)).cloned();
    let home = recipe.home.clone().or_else(|| field(5)).unwrap_or_else(|| format!("/home/{user}"));
    let shell = recipe.shell.clone().or_else(|| field(6)).unwrap_or_else(|| "/bin/bash".into());
    check_path(user, "home", &home)?;
    check_path(user, "shell", &shell)?;

    let base_ids = in_base.as_ref().and_then(|fields| Some((number(fields, 2)?, number(fields, 3)?)));
    let (uid, gid) = match base_ids {
        Some((found, _)) if recipe.uid.is_some() && uid != found => return Err(differs("user", found, uid)),
        Some((_, found)) if recipe.gid.is_some() && gid != found => return Err(differs("group", found, gid)),
        Some(ids) => ids,
        None => {
            if let Some(holder) = base.passwd.numbered(2, uid) {
                let free = base.free_uid(uid);
                return Err(Error::UidTaken { user: user.clone(), uid, holder: holder[0].clone(), free });
            }
            match base.group.named(user).and_then(|fields| number(&fields, 2)) {
                Some(found) if recipe.gid.is_some() && gid != found => return Err(differs("group", found, gid)),
                Some(found) => (uid, found),
                None => (uid, if recipe.gid.is_some() { gid } else { uid }),
            }
        }
    };
    let taken_over = field(5).is_some_and(|of_base| of_base == home);
    Ok(Identity { user: user.clone(), uid, gid, shell, home, taken_over })
}

// useradd(8): "Usernames must start with a lower case letter or an underscore, followed by
// lower case letters, digits, underscores, or dashes."
fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= LONGEST_NAME
        && bytes.next().is_some_and(|first| first.is_ascii_lowercase() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-')
}

fn check_path(user: &str, field: &'static str, path: &str) -> Result<(), Error> {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    let parts_are_plain = path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(plain));
    if parts_are_plain && !path.contains(|character: char| character == ':' || character.is_control()) {
        Ok(())
    } else {
        Err(Error::Field { user: user.to_owned(), field, value: path.to_owned() })
    }
}

/// The content of a file of the base, as bytes.
pub(super) fn content(file: &BaseFile) -> Result<Vec<u8>, Error> {
    file.bytes().map_err(|what| Error::BaseFile { path: file.path.clone(), what: what.to_string() })
}

impl Account {
    /// The login name.
    pub fn user(&self) -> &str {
        &self.identity.user
    }
}

impl Changeset for Account {
    fn inputs(&self) -> Inputs {
        let Identity { user, uid, gid, shell, home, taken_over } = &self.identity;
        Inputs::new("account", 1, format!("dlpack account {user} (uid {uid}, gid {gid})"))
            .with("user", user.as_str())
            .with("uid", *uid)
            .with("gid", *gid)
            .with("shell", shell.as_str())
            .with("home", home.as_str())
            .with("taken-over", *taken_over)
            .with("groups", self.groups.clone())
            .with("password", self.password.as_ref().map(|hash| hash.fingerprint().to_string()))
            .with("account-files", self.files_before.fingerprint())
            .with("home-files", self.home.fingerprint())
    }

    fn write(&self, _under: &Rootfs, out: &mut LayerWriter) -> Result<(), super::Error> {
        let mut entries = Entries::default();
        for file in self.files.all() {
            entries.file(file.path, file.attributes, file.text());
        }
        self.home.entries(&mut entries);
        entries.write(out)?;
        Ok(())
    }

    fn configure(&self, config: &mut ImageConfig) {
        self.home.configure(config);
    }
}

impl Identity {
    /// What the account owns.
    pub(super) fn owns(&self, mode: u32) -> Attributes {
        Attributes { mode, uid: self.uid, gid: self.gid }
    }
}
