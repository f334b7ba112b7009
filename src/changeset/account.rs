//! A user account: its lines in the base's account files, its home from the base's
//! skeleton, its authorised keys, and a venv of its own over the shared one.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use thiserror::Error;

use super::entries::Entries;
use super::home::Home;
use super::passwd::{AccountFiles, number};
use super::password::{self, PasswordHash};
use super::{Changeset, Inputs};
use crate::layer::{Attributes, LayerWriter};
use crate::lock::{BaseFile, FileKind, Lock, LockedLayer, base};
use crate::oci::Amendment;
use crate::python::scheme::InvalidVersion;
use crate::recipe::{self, LayerKind};
use crate::sandbox::{EntryKind, Rootfs};

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
    /// A layer after it that may bring account files of its own.
    #[error("account {user}: layer `{layer}` comes after it, and may hide it behind account files of its own")]
    Hidden {
        /// The account.
        user: String,
        /// The layer.
        layer: String,
    },
    /// A layer before it has made the user, with another home.
    #[error("account {user}: the layers before it give it the home {found}, not {assumed}")]
    HomeDiffers {
        /// The account.
        user: String,
        /// What they say.
        found: String,
        /// What the recipe says, or what was assumed since it says nothing.
        assumed: String,
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
            Self::Hidden { user, layer } => Some(format!("put the account {user} after layer `{layer}`")),
            Self::HomeDiffers { found, .. } => Some(format!("set `home = \"{found}\"`, or take another name")),
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

/// What a recipe says of an account, to be done on account files.
#[derive(Clone, Debug)]
struct Request {
    recipe: recipe::Account,
    uid: u32,
    gid: u32,
    password: Option<PasswordHash>,
}

impl Request {
    /// Makes or amends the account in `files`.
    fn apply(&self, files: &mut AccountFiles) -> Result<Identity, Error> {
        let identity = identify(&self.recipe, (self.uid, self.gid), files)?;
        // shadow(5): a field that no password hashes to is a locked password. Not `!`: sshd
        // without PAM takes an account whose field begins with it for locked altogether.
        files.set_user(&identity, self.password.as_ref().map_or("*", PasswordHash::reveal));
        Ok(identity)
    }

    fn join_groups(&self, files: &mut AccountFiles) -> Result<(), Error> {
        match self.recipe.groups.iter().find(|group| !files.add_member(group, &self.recipe.user)) {
            None => Ok(()),
            Some(group) => Err(Error::NoGroup { user: self.recipe.user.clone(), group: group.clone() }),
        }
    }
}

/// Makes one account.
#[derive(Debug)]
pub struct Account {
    request: Request,
    identity: Identity,
    files: AccountFiles,
    files_before: AccountFiles,
    home: Home,
    /// The accounts before it, if it is made on what layers of the sandbox have left of
    /// the base's account files.
    on_rootfs: Option<Vec<Request>>,
}

/// The changesets of the `account` layers of `lock`, each with the index of its
/// layer. Each amends the account files as the one before it leaves them: those of the
/// base, which the lock has, or those of the root filesystem under it, where packages or
/// commands that come before it may have made users of their own. `directory` is the
/// recipe's, where a password's secret may lie.
///
/// # Errors
/// See [`Error`].
pub fn changesets(lock: &Lock, directory: &Path) -> Result<Vec<(usize, Account)>, Error> {
    let mut files = AccountFiles::of(&lock.base.files)?;
    let (mut accounts, mut requests): (Vec<(usize, Account)>, Vec<Request>) = (Vec::new(), Vec::new());
    let mut on_rootfs = false;
    for (index, (layer, locked)) in lock.recipe.layers.iter().zip(&lock.layers).enumerate() {
        on_rootfs |= matches!(layer.kind, LayerKind::Apt(_) | LayerKind::Run(_));
        if let (LayerKind::Apt(_), Some(hidden)) = (&layer.kind, requests.last()) {
            return Err(Error::Hidden { user: hidden.recipe.user.clone(), layer: layer.name.clone() });
        }
        let (LayerKind::Account(recipe), LockedLayer::Account { uid, gid, authorized_keys, .. }) =
            (&layer.kind, locked)
        else {
            continue;
        };
        let request = Request { recipe: recipe.clone(), uid: *uid, gid: *gid, password: password(recipe, directory)? };
        let files_before = files.clone();
        let identity = request.apply(&mut files)?;
        // a group of the root filesystem may be none of the base
        if !on_rootfs {
            request.join_groups(&mut files)?;
        }
        let home = Home::new(&identity, recipe.venv.as_deref(), authorized_keys, lock)?;
        let before = on_rootfs.then(|| requests.clone());
        let (files, request_made) = (files.clone(), request.clone());
        accounts.push((index, Account { request, identity, files, files_before, home, on_rootfs: before }));
        requests.push(request_made);
    }
    Ok(accounts)
}

fn password(recipe: &recipe::Account, directory: &Path) -> Result<Option<PasswordHash>, Error> {
    let hash = recipe.password_secret.as_ref().map(|secret| PasswordHash::read(secret, directory));
    hash.transpose().map_err(|source| Error::Password { user: recipe.user.clone(), source })
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

    /// What it comes to on the root filesystem `under`, after the accounts `before` it.
    fn made_on(&self, under: &Rootfs, before: &[Request]) -> Result<(AccountFiles, Home), super::Error> {
        let found = files_of(under)?;
        let mut files = AccountFiles::of(&found)?;
        for request in before {
            request.apply(&mut files)?;
            request.join_groups(&mut files)?;
        }
        let identity = self.request.apply(&mut files)?;
        self.request.join_groups(&mut files)?;
        // the image's config and the account's venv name it, and are made without a look at the files
        if identity.home != self.identity.home {
            let Identity { user, home, .. } = identity;
            return Err(Error::HomeDiffers { user, found: home, assumed: self.identity.home.clone() }.into());
        }
        let home = self.home.on(&identity, &found)?;
        Ok((files, home))
    }
}

/// The account files and the skeleton of a home on `under`.
fn files_of(under: &Rootfs) -> Result<Vec<BaseFile>, super::Error> {
    let mut files = Vec::new();
    let mut waiting: Vec<String> = base::ACCOUNT_FILES.iter().map(|path| (*path).to_owned()).collect();
    let inside = |directory: &str| -> Result<Vec<String>, super::Error> {
        Ok(under.names(directory)?.into_iter().map(|name| format!("{directory}/{name}")).collect())
    };
    waiting.extend(inside(base::SKELETON)?);
    while let Some(path) = waiting.pop() {
        let Some(entry) = under.entry(&path)? else { continue };
        let (kind, bytes) = match &entry.kind {
            EntryKind::File(content) => (FileKind::File, content.as_slice()),
            EntryKind::Symlink(target) => (FileKind::Symlink, target.as_os_str().as_bytes()),
            EntryKind::Directory => {
                waiting.extend(inside(&path)?);
                (FileKind::Directory, &[][..])
            }
            EntryKind::Special => continue,
        };
        files.push(BaseFile::new(path, kind, entry.attributes, bytes));
    }
    Ok(files)
}

impl Changeset for Account {
    fn inputs(&self) -> Inputs {
        let Identity { user, uid, gid, shell, home, taken_over } = &self.identity;
        let inputs = Inputs::new("account", 1, format!("dlpack account {user} (uid {uid}, gid {gid})"))
            .with("user", user.as_str())
            .with("uid", *uid)
            .with("gid", *gid)
            .with("shell", shell.as_str())
            .with("home", home.as_str())
            .with("taken-over", *taken_over)
            .with("groups", self.request.recipe.groups.clone())
            .with("password", self.request.password.as_ref().map(|hash| hash.fingerprint().to_string()))
            .with("account-files", self.files_before.fingerprint())
            .with("home-files", self.home.fingerprint());
        // A user more or less is no reason to run anything again.
        if self.on_rootfs.is_some() { inputs.on_rootfs().unseen() } else { inputs }
    }

    fn write(&self, under: &Rootfs, out: &mut LayerWriter) -> Result<(), super::Error> {
        let on_rootfs = self.on_rootfs.as_ref().map(|before| self.made_on(under, before)).transpose()?;
        let (files, home) = on_rootfs.as_ref().map_or((&self.files, &self.home), |(files, home)| (files, home));
        let mut entries = Entries::default();
        for file in files.all() {
            entries.file(file.path, file.attributes, file.text());
        }
        home.entries(&mut entries);
        entries.write(out)?;
        Ok(())
    }

    fn amendments(&self) -> Vec<Amendment> {
        self.home.amendments()
    }
}

impl Identity {
    /// What the account owns.
    pub(super) fn owns(&self, mode: u32) -> Attributes {
        Attributes { mode, uid: self.uid, gid: self.gid }
    }
}
