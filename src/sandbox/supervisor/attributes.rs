//! Extended attributes that one uid can't set: access control lists that name other users
//! or groups, and file capabilities. They stand in the record; the record's own attributes
//! are seen by nobody.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, XattrFlags};
use rustix::io::Errno;

use super::acl::Acl;
use super::call::Target;
use super::capabilities::{FileCapabilities, capability};
use super::ownership::{kind_and_mode, name};
use super::places::At;
use super::tracee::Tracee;
use super::{Answer, Supervisor};
use crate::sandbox::record::{KEPT_XATTRS, OURS, XATTR};

/// xattr(7), limits.h: the longest name with its NUL, and the longest value and list.
const NAME_MAX: usize = 256;
const SIZE_MAX: usize = 65_536;

const CAPABILITY: &str = "security.capability";
const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

/// setxattr(2)
const XATTR_CREATE: i32 = 1;
const XATTR_REPLACE: i32 = 2;

impl Supervisor {
    fn target(&mut self, tracee: &Tracee<'_>, target: Target) -> Result<OwnedFd, Errno> {
        if target == Target::File {
            return tracee.file(tracee.int(0));
        }
        let path = tracee.path(tracee.args[0])?;
        self.places.open(tracee, At::new(libc::AT_FDCWD, &path, target == Target::Path))
    }

    /// getxattr(2): what, name, value, size.
    pub(super) fn getxattr(&mut self, tracee: &Tracee<'_>, target: Target) -> Result<Answer, Errno> {
        let attribute = Attribute::read(tracee)?;
        let Attribute::Kept(attribute) = attribute else { return attribute.unless_ours(Errno::NODATA) };
        let file = self.target(tracee, target)?;
        match record(&file, attribute)? {
            None => Ok(Answer::Continue),
            Some(value) => answer(tracee, 2, &value),
        }
    }

    /// removexattr(2): what, name.
    pub(super) fn removexattr(&mut self, tracee: &Tracee<'_>, target: Target) -> Result<Answer, Errno> {
        let attribute = Attribute::read(tracee)?;
        let Attribute::Kept(attribute) = attribute else { return attribute.unless_ours(Errno::NODATA) };
        let file = self.target(tracee, target)?;
        if record(&file, attribute)?.is_none() {
            return Ok(Answer::Continue);
        }
        self.may_change(tracee, &file, attribute)?;
        rustix::fs::removexattr(name(&file), kept(attribute))?;
        if attribute == DEFAULT {
            let _ = rustix::fs::removexattr(name(&file), DEFAULT);
        }
        Ok(Answer::Value(0))
    }

    /// setxattr(2): what, name, value, size, flags.
    pub(super) fn setxattr(&mut self, tracee: &Tracee<'_>, target: Target) -> Result<Answer, Errno> {
        let attribute = Attribute::read(tracee)?;
        let Attribute::Kept(attribute) = attribute else { return attribute.unless_ours(Errno::NOTSUP) };
        let size = usize::try_from(tracee.args[3]).ok().filter(|size| *size <= SIZE_MAX).ok_or(Errno::TOOBIG)?;
        let mut value = vec![0; size];
        tracee.read_into(tracee.args[2], &mut value)?;
        let file = self.target(tracee, target)?;
        let there = record(&file, attribute)?.is_some();
        let value = match attribute {
            CAPABILITY => revision_2(&value).ok_or(Errno::INVAL)?,
            // a list that names nobody is the kernel's, and takes the place of the record's; what
            // is no list the kernel refuses
            _ => match Acl::parse(&value) {
                Some(acl) if acl.names_anybody() => acl.encode(),
                None => return Ok(Answer::Continue),
                Some(_) => {
                    let _ = rustix::fs::removexattr(name(&file), kept(attribute));
                    return Ok(Answer::Continue);
                }
            },
        };
        self.may_change(tracee, &file, attribute)?;
        match (tracee.int(4), there) {
            (XATTR_CREATE, true) => return Err(Errno::EXIST),
            (XATTR_REPLACE, false) => return Err(Errno::NODATA),
            _ => {}
        }
        rustix::fs::setxattr(name(&file), kept(attribute), &value, XattrFlags::empty())?;
        if let Some(acl) = Acl::parse(&value).filter(|_| attribute != CAPABILITY) {
            enforce(&file, attribute, &acl)?;
        }
        Ok(Answer::Value(0))
    }

    /// listxattr(2): what, list, size.
    pub(super) fn listxattr(&mut self, tracee: &Tracee<'_>, target: Target) -> Result<Answer, Errno> {
        let file = self.target(tracee, target)?;
        let mut names = vec![0; SIZE_MAX];
        let length = rustix::fs::listxattr(name(&file), &mut names)?;
        names.truncate(length);
        if !names.split(|byte| *byte == 0).any(|name| name.starts_with(OURS.as_bytes())) {
            return Ok(Answer::Continue);
        }
        let mut shown: Vec<&[u8]> = Vec::new();
        for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let name = match name.strip_prefix(XATTR.as_bytes()) {
                None if name.starts_with(OURS.as_bytes()) => continue,
                None => name,
                Some(kept) => kept,
            };
            if !shown.contains(&name) {
                shown.push(name);
            }
        }
        let list: Vec<u8> = shown.into_iter().flat_map(|name| [name, b"\0"].concat()).collect();
        answer(tracee, 1, &list)
    }

    /// capabilities(7): CAP_SETFCAP; acl(5): the owner, or CAP_FOWNER.
    fn may_change(&self, tracee: &Tracee<'_>, file: &OwnedFd, attribute: &str) -> Result<(), Errno> {
        let credentials = self.processes.credentials(tracee.pid)?;
        let allowed = match attribute {
            CAPABILITY => credentials.may(capability::SETFCAP),
            _ => {
                let owner = self.ownership.owner(file)?.unwrap_or_default();
                credentials.uid.filesystem == owner.uid || credentials.may(capability::FOWNER)
            }
        };
        if allowed { Ok(()) } else { Err(Errno::PERM) }
    }
}

/// An attribute's name, as far as it is of interest.
enum Attribute {
    /// One that may stand in the record.
    Kept(&'static str),
    /// The record's own.
    Ours,
    /// Any other.
    Other,
}

impl Attribute {
    /// Argument 1.
    fn read(tracee: &Tracee<'_>) -> Result<Self, Errno> {
        let name: CString = tracee.string(tracee.args[1], NAME_MAX, Errno::RANGE)?;
        let name = name.to_bytes();
        let kept = KEPT_XATTRS.into_iter().find(|kept| kept.as_bytes() == name);
        Ok(match kept {
            Some(kept) => Self::Kept(kept),
            None if name.starts_with(OURS.as_bytes()) => Self::Ours,
            None => Self::Other,
        })
    }

    /// The kernel's answer, or `error` for what isn't to be seen.
    fn unless_ours(&self, error: Errno) -> Result<Answer, Errno> {
        if matches!(self, Self::Ours) { Err(error) } else { Ok(Answer::Continue) }
    }
}

/// The value of `security.capability` of `file` in the record.
pub(super) fn capabilities(file: &OwnedFd) -> Result<Option<Vec<u8>>, Errno> {
    record(file, CAPABILITY)
}

fn kept(attribute: &str) -> String {
    format!("{XATTR}{attribute}")
}

/// The value of `attribute` in the record.
fn record(file: &OwnedFd, attribute: &str) -> Result<Option<Vec<u8>>, Errno> {
    let mut value = vec![0; SIZE_MAX];
    match rustix::fs::getxattr(name(file), kept(attribute), &mut value) {
        Ok(length) => value.truncate(length),
        Err(Errno::NODATA | Errno::NOTSUP | Errno::PERM) => return Ok(None),
        Err(error) => return Err(error),
    }
    // chmod(2) has changed the file's mode and not the record
    match Acl::parse(&value).filter(|_| attribute == ACCESS) {
        Some(acl) => Ok(Some(acl.with_mode(kind_and_mode(file)?.1).encode())),
        None => Ok(Some(value)),
    }
}

/// What of a list one uid can have.
fn enforce(file: &OwnedFd, attribute: &str, acl: &Acl) -> Result<(), Errno> {
    if attribute == DEFAULT {
        // what is made there takes its permission bits from it
        return rustix::fs::setxattr(name(file), DEFAULT, &acl.without_names().encode(), XattrFlags::empty());
    }
    let (_, mode) = kind_and_mode(file)?;
    rustix::fs::chmod(name(file), Mode::from_raw_mode(mode & 0o7000 | acl.mode()))
}

/// `security.capability` as an image has it: without the uid of a namespace's root.
fn revision_2(value: &[u8]) -> Option<Vec<u8>> {
    FileCapabilities::parse(value)?;
    let effective = u32::from(value[0] & 1);
    Some([&(0x0200_0000 | effective).to_le_bytes(), &value[4..20]].concat())
}

/// getxattr(2): "If size is specified as zero, these calls return the current size".
fn answer(tracee: &Tracee<'_>, buffer: usize, value: &[u8]) -> Result<Answer, Errno> {
    let size = tracee.args[buffer + 1];
    if size != 0 {
        if size < value.len() as u64 {
            return Err(Errno::RANGE);
        }
        tracee.write(tracee.args[buffer], value)?;
    }
    Ok(Answer::Value(value.len() as i64))
}
