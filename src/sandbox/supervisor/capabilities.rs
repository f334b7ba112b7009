//! capabilities(7): the sets of a thread and of a file, and how they follow user ids
//! and programs. Pure, as [`super::credentials`].

use rustix::io::Errno;

use super::credentials::Ids;

type Result<T> = std::result::Result<T, Errno>;

/// Numbers of linux/capability.h that decide something here.
pub(super) mod capability {
    pub(in super::super) const CHOWN: u32 = 0;
    pub(in super::super) const FOWNER: u32 = 3;
    pub(in super::super) const SETGID: u32 = 6;
    pub(in super::super) const SETUID: u32 = 7;
    pub(in super::super) const SETPCAP: u32 = 8;
    pub(in super::super) const MKNOD: u32 = 27;
    pub(in super::super) const SETFCAP: u32 = 31;
    /// `CAP_LAST_CAP` as of Linux 5.9: CAP_CHECKPOINT_RESTORE.
    pub(in super::super) const LAST: u32 = 40;
}

/// Every capability.
const ALL: u64 = (1 << (capability::LAST + 1)) - 1;

/// capabilities(7), setfsuid: CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH,
/// CAP_FOWNER, CAP_FSETID, CAP_LINUX_IMMUTABLE, CAP_MAC_OVERRIDE, CAP_MKNOD.
const FILES: u64 = 0b1_1111 | 1 << 9 | 1 << 32 | 1 << capability::MKNOD;

/// Securebits (linux/securebits.h).
const NOROOT: u32 = 1;
const NO_SETUID_FIXUP: u32 = 1 << 2;
pub(super) const KEEP_CAPS: u32 = 1 << 4;
const NO_CAP_AMBIENT_RAISE: u32 = 1 << 6;

/// The capability sets of a thread, and its securebits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Capabilities {
    pub(super) effective: u64,
    pub(super) permitted: u64,
    pub(super) inheritable: u64,
    pub(super) bounding: u64,
    pub(super) ambient: u64,
    pub(super) securebits: u32,
}

/// What capset(2) sets and capget(2) gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sets {
    pub(super) effective: u64,
    pub(super) permitted: u64,
    pub(super) inheritable: u64,
}

/// The capabilities of a file: capabilities(7), "File capabilities".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileCapabilities {
    pub(super) permitted: u64,
    pub(super) inheritable: u64,
    pub(super) effective: bool,
}

impl FileCapabilities {
    /// The value of `security.capability` (`struct vfs_cap_data`, linux/capability.h);
    /// none if it is malformed.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let word = |n: usize| Some(u64::from(u32::from_le_bytes(value.get(4 * n..4 * n + 4)?.try_into().ok()?)));
        let magic = word(0)?;
        // VFS_CAP_REVISION_2, and _3 with the id of its namespace's root
        if !matches!((magic >> 24, value.len()), (2, 20) | (3, 24)) {
            return None;
        }
        Some(Self {
            permitted: word(1)? | word(3)? << 32,
            inheritable: word(2)? | word(4)? << 32,
            effective: magic & 1 == 1,
        })
    }
}

impl Capabilities {
    /// Root's.
    pub(super) fn all() -> Self {
        Self { effective: ALL, permitted: ALL, bounding: ALL, ..Self::default() }
    }

    /// Those of a process that has none, and may get all.
    pub(super) fn bounded() -> Self {
        Self { bounding: ALL, ..Self::default() }
    }

    /// "Effect of user ID changes on capabilities"
    pub(super) fn after_setuid(&mut self, old: Ids, new: Ids) {
        if self.securebits & NO_SETUID_FIXUP != 0 {
            return;
        }
        let some_root = |ids: Ids| [ids.real, ids.effective, ids.saved].contains(&0);
        // "If one or more of the real, effective, or saved set user IDs was previously 0,
        // and as a result of the UID changes all of these IDs have a nonzero value, then
        // all capabilities are cleared from the permitted, effective, and ambient …"
        if some_root(old) && !some_root(new) {
            if self.securebits & KEEP_CAPS == 0 {
                self.permitted = 0;
                self.effective = 0;
            }
            self.ambient = 0;
        }
        // "If the effective user ID is changed from 0 to nonzero, then all capabilities
        // are cleared from the effective set."
        if old.effective == 0 && new.effective != 0 {
            self.effective = 0;
        }
        // "If the effective user ID is changed from nonzero to 0, then the permitted set
        // is copied to the effective set."
        if old.effective != 0 && new.effective == 0 {
            self.effective = self.permitted;
        }
    }

    /// "If the filesystem user ID is changed from 0 to nonzero …, then the following
    /// capabilities are cleared from the effective set"; back to 0, they come back.
    pub(super) fn after_setfsuid(&mut self, old: u32, new: u32) {
        if self.securebits & NO_SETUID_FIXUP != 0 {
            return;
        }
        if old == 0 && new != 0 {
            self.effective &= !FILES;
        }
        if old != 0 && new == 0 {
            self.effective |= self.permitted & FILES;
        }
    }

    /// "Transformation of capabilities during execve()", and "Capabilities and execution
    /// of programs by root". `changed`: the program changed an effective id.
    pub(super) fn after_execve(&mut self, uid: Ids, file: Option<FileCapabilities>, changed: bool) {
        let root = self.securebits & NOROOT == 0 && (uid.real == 0 || uid.effective == 0);
        // "P'(ambient) = (file is privileged) ? 0 : P(ambient)"
        if changed || file.is_some() {
            self.ambient = 0;
        }
        let file = match file {
            // "the file inheritable and permitted sets are considered to be all ones", and
            // with an effective user ID of 0 "the file effective bit is … enabled"
            _ if root => FileCapabilities { permitted: ALL, inheritable: ALL, effective: uid.effective == 0 },
            Some(file) => file,
            None => FileCapabilities { permitted: 0, inheritable: 0, effective: false },
        };
        // "P'(permitted) = (P(inheritable) & F(inheritable)) | (F(permitted) & P(bounding)) | P'(ambient)"
        self.permitted = self.inheritable & file.inheritable | file.permitted & self.bounding | self.ambient;
        // "P'(effective) = F(effective) ? P'(permitted) : P'(ambient)"
        self.effective = if file.effective { self.permitted } else { self.ambient };
        // "SECBIT_KEEP_CAPS … is always cleared on an execve(2)"
        self.securebits &= !KEEP_CAPS;
    }

    /// capset(2), and "Programmatically adjusting capability sets".
    pub(super) fn set(&self, new: Sets) -> Result<Self> {
        let may = |capability: u32| self.effective & 1 << capability != 0;
        let within = |set: u64, limit: u64| set & !limit == 0;
        // "The new inheritable set must be a subset of the combination of the existing
        // inheritable and permitted sets", without CAP_SETPCAP, and always "a subset of
        // the combination of the existing inheritable set and the capability bounding set"
        let inheritable = within(new.inheritable, self.inheritable | self.bounding)
            && (may(capability::SETPCAP) || within(new.inheritable, self.inheritable | self.permitted));
        // "The new permitted set must be a subset of the existing permitted set",
        // "The new effective set must be a subset of the new permitted set."
        if !inheritable || !within(new.permitted, self.permitted) || !within(new.effective, new.permitted) {
            return Err(Errno::PERM);
        }
        let Sets { effective, permitted, inheritable } = new;
        // "a capability … is automatically lowered" in the ambient set
        Ok(Self { effective, permitted, inheritable, ambient: self.ambient & permitted & inheritable, ..*self })
    }

    /// prctl(2) on capabilities: the value, and what it changed, if anything.
    pub(super) fn prctl(&self, option: u64, argument: u64, second: u64) -> Result<(i64, Option<Self>)> {
        let may = |capability: u32| self.effective & 1 << capability != 0;
        let bit = |number: u64| if number <= capability::LAST.into() { Ok(1_u64 << number) } else { Err(Errno::INVAL) };
        match option {
            // PR_GET_KEEPCAPS
            7 => Ok((i64::from(self.securebits & KEEP_CAPS != 0), None)),
            // PR_SET_KEEPCAPS
            8 => match argument {
                0 => Ok((0, Some(Self { securebits: self.securebits & !KEEP_CAPS, ..*self }))),
                1 => Ok((0, Some(Self { securebits: self.securebits | KEEP_CAPS, ..*self }))),
                _ => Err(Errno::INVAL),
            },
            // PR_CAPBSET_READ
            23 => Ok((i64::from(self.bounding & bit(argument)? != 0), None)),
            // PR_CAPBSET_DROP
            24 if may(capability::SETPCAP) => {
                Ok((0, Some(Self { bounding: self.bounding & !bit(argument)?, ..*self })))
            }
            // PR_GET_SECUREBITS
            27 => Ok((self.securebits.into(), None)),
            // PR_SET_SECUREBITS
            28 if may(capability::SETPCAP) => Ok((0, Some(Self { securebits: argument as u32, ..*self }))),
            24 | 28 => Err(Errno::PERM),
            // PR_CAP_AMBIENT
            47 => self.ambient(argument, second),
            _ => Err(Errno::INVAL),
        }
    }

    fn ambient(&self, operation: u64, number: u64) -> Result<(i64, Option<Self>)> {
        let bit = || if number <= capability::LAST.into() { Ok(1_u64 << number) } else { Err(Errno::INVAL) };
        match operation {
            // PR_CAP_AMBIENT_IS_SET
            1 => Ok((i64::from(self.ambient & bit()? != 0), None)),
            // PR_CAP_AMBIENT_RAISE: "must already be present in both the permitted and the inheritable sets"
            2 => {
                let bit = bit()?;
                let allowed =
                    self.permitted & self.inheritable & bit != 0 && self.securebits & NO_CAP_AMBIENT_RAISE == 0;
                if allowed { Ok((0, Some(Self { ambient: self.ambient | bit, ..*self }))) } else { Err(Errno::PERM) }
            }
            // PR_CAP_AMBIENT_LOWER
            3 => Ok((0, Some(Self { ambient: self.ambient & !bit()?, ..*self }))),
            // PR_CAP_AMBIENT_CLEAR_ALL
            4 => Ok((0, Some(Self { ambient: 0, ..*self }))),
            _ => Err(Errno::INVAL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capset_takes_away_and_never_gives() {
        let all = Capabilities::all();
        let few = Sets { effective: 1, permitted: 3, inheritable: 1 };
        let less = all.set(few).unwrap();
        assert_eq!((less.effective, less.permitted, less.inheritable), (1, 3, 1));
        assert_eq!(less.set(Sets { permitted: 7, ..few }), Err(Errno::PERM));
        assert_eq!(less.set(Sets { effective: 4, ..few }), Err(Errno::PERM));
        assert_eq!(less.set(Sets { inheritable: 4, ..few }), Err(Errno::PERM));
    }

    #[test]
    fn what_is_out_of_the_bounding_set_does_not_come_back_with_a_program() {
        let (_, dropped) = Capabilities::all().prctl(24, capability::MKNOD.into(), 0).unwrap();
        let mut dropped = dropped.unwrap();
        assert_eq!(dropped.prctl(23, capability::MKNOD.into(), 0), Ok((0, None)));
        let root = Ids { real: 0, effective: 0, saved: 0, filesystem: 0 };
        dropped.after_execve(root, None, false);
        assert_eq!(dropped.permitted, ALL & !(1 << capability::MKNOD));
        assert_eq!(dropped.prctl(24, 41, 0), Err(Errno::INVAL));
    }

    #[test]
    fn ambient_capabilities_survive_a_program_that_changes_nothing() {
        let sets = Sets { effective: ALL, permitted: ALL, inheritable: 1 << 10 };
        let (_, raised) = Capabilities::all().set(sets).unwrap().prctl(47, 2, 10).unwrap();
        let mut user = raised.unwrap();
        assert_eq!(user.prctl(47, 2, 11), Err(Errno::PERM));
        user.after_execve(Ids { real: 5, effective: 5, saved: 5, filesystem: 5 }, None, false);
        assert_eq!((user.permitted, user.effective, user.ambient), (1 << 10, 1 << 10, 1 << 10));
    }

    #[test]
    fn capabilities_of_a_file_are_read_in_both_revisions() {
        let value = |revision: u32| [revision << 24 | 1, 1 << 13, 0, 1, 0].map(u32::to_le_bytes).concat();
        let expected = FileCapabilities { permitted: 1 << 32 | 1 << 13, inheritable: 0, effective: true };
        assert_eq!(FileCapabilities::parse(&value(2)), Some(expected));
        assert_eq!(FileCapabilities::parse(&[value(3), vec![0; 4]].concat()), Some(expected));
        assert_eq!(FileCapabilities::parse(&value(3)), None);
        assert_eq!(FileCapabilities::parse(b""), None);
    }
}
