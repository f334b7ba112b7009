//! The credentials of a process, and what each call makes of them: credentials(7),
//! capabilities(7), setresuid(2). Pure: nothing here is done to a process.

use rustix::io::Errno;

use super::capabilities::{Capabilities, FileCapabilities, capability};
use crate::sandbox::user::Credentials as User;

/// "-1" in an argument: leave it as it is. Never an id.
pub(super) const UNCHANGED: u32 = u32::MAX;

/// setgroups(2) `NGROUPS_MAX`.
const GROUPS: usize = 65_536;

type Result<T> = std::result::Result<T, Errno>;

/// credentials(7): who a process is, and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sandbox) struct Credentials {
    pub(super) uid: Ids,
    pub(super) gid: Ids,
    pub(super) groups: Vec<u32>,
    pub(super) capabilities: Capabilities,
}

/// The four ids of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) real: u32,
    pub(super) effective: u32,
    pub(super) saved: u32,
    pub(super) filesystem: u32,
}

impl Ids {
    const fn all(id: u32) -> Self {
        Self { real: id, effective: id, saved: id, filesystem: id }
    }

    /// Whether an unprivileged process may set its effective or saved id to it.
    fn has(self, id: u32) -> bool {
        [self.real, self.effective, self.saved].contains(&id)
    }

    /// setuid(2): "If the calling process is privileged … the real UID and saved
    /// set-user-ID are also set."
    fn set(self, id: u32, privileged: bool) -> Result<Self> {
        match id {
            UNCHANGED => Err(Errno::INVAL),
            _ if privileged => Ok(Self::all(id)),
            _ if id == self.real || id == self.saved => Ok(Self { effective: id, filesystem: id, ..self }),
            _ => Err(Errno::PERM),
        }
    }

    /// setreuid(2)
    fn set_real_and_effective(self, real: u32, effective: u32, privileged: bool) -> Result<Self> {
        let mut new = self;
        if real != UNCHANGED {
            // "Unprivileged users may only set the real user ID to the real user ID or
            // the effective user ID."
            if !privileged && real != self.real && real != self.effective {
                return Err(Errno::PERM);
            }
            new.real = real;
        }
        if effective != UNCHANGED {
            // "Unprivileged processes may only set the effective user ID to the real
            // user ID, the effective user ID, or the saved set-user-ID."
            if !privileged && !self.has(effective) {
                return Err(Errno::PERM);
            }
            new.effective = effective;
        }
        // "If the real user ID is set (i.e., ruid is not -1) or the effective user ID is
        // set to a value not equal to the previous real user ID, the saved set-user-ID
        // will be set to the new effective user ID."
        if real != UNCHANGED || effective != UNCHANGED && effective != self.real {
            new.saved = new.effective;
        }
        new.filesystem = new.effective;
        Ok(new)
    }

    /// setresuid(2): "each to one of: the current real UID, the current effective UID,
    /// or the current saved set-user-ID", or any with privilege.
    fn set_each(self, real: u32, effective: u32, saved: u32, privileged: bool) -> Result<Self> {
        let allowed = |id| id == UNCHANGED || privileged || self.has(id);
        if ![real, effective, saved].into_iter().all(allowed) {
            return Err(Errno::PERM);
        }
        let or = |id, old| if id == UNCHANGED { old } else { id };
        let effective = or(effective, self.effective);
        // "the filesystem UID is always set to the same value as the (possibly new) effective UID"
        Ok(Self { real: or(real, self.real), effective, saved: or(saved, self.saved), filesystem: effective })
    }

    /// setfsuid(2): never fails; what isn't allowed changes nothing.
    fn set_filesystem(self, id: u32, privileged: bool) -> Self {
        let allowed = id != UNCHANGED && (privileged || self.has(id) || id == self.filesystem);
        if allowed { Self { filesystem: id, ..self } } else { self }
    }
}

/// What execve(2) sees of a program that changes credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Program {
    /// The owner, if the file is set-user-ID.
    pub(super) uid: Option<u32>,
    /// The group, if the file is set-group-ID.
    pub(super) gid: Option<u32>,
    /// The file's capabilities.
    pub(super) capabilities: Option<FileCapabilities>,
}

impl Credentials {
    /// Those of a login with these ids: root with all capabilities, anybody else with none.
    pub(super) fn new(uid: u32, gid: u32, groups: Vec<u32>) -> Self {
        let capabilities = if uid == 0 { Capabilities::all() } else { Capabilities::bounded() };
        Self { uid: Ids::all(uid), gid: Ids::all(gid), groups, capabilities }
    }

    /// Whether `capability` is effective.
    pub(super) fn may(&self, capability: u32) -> bool {
        self.capabilities.effective & 1 << capability != 0
    }

    /// Whether `gid` is among the groups that count for files.
    pub(super) fn in_group(&self, gid: u32) -> bool {
        self.gid.filesystem == gid || self.groups.contains(&gid)
    }

    pub(super) fn setuid(&self, uid: u32) -> Result<Self> {
        Ok(self.with_uid(self.uid.set(uid, self.may(capability::SETUID))?))
    }

    pub(super) fn setgid(&self, gid: u32) -> Result<Self> {
        Ok(self.with_gid(self.gid.set(gid, self.may(capability::SETGID))?))
    }

    pub(super) fn setreuid(&self, real: u32, effective: u32) -> Result<Self> {
        let privileged = self.may(capability::SETUID);
        Ok(self.with_uid(self.uid.set_real_and_effective(real, effective, privileged)?))
    }

    pub(super) fn setregid(&self, real: u32, effective: u32) -> Result<Self> {
        let privileged = self.may(capability::SETGID);
        Ok(self.with_gid(self.gid.set_real_and_effective(real, effective, privileged)?))
    }

    pub(super) fn setresuid(&self, real: u32, effective: u32, saved: u32) -> Result<Self> {
        let privileged = self.may(capability::SETUID);
        Ok(self.with_uid(self.uid.set_each(real, effective, saved, privileged)?))
    }

    pub(super) fn setresgid(&self, real: u32, effective: u32, saved: u32) -> Result<Self> {
        let privileged = self.may(capability::SETGID);
        Ok(self.with_gid(self.gid.set_each(real, effective, saved, privileged)?))
    }

    pub(super) fn setfsuid(&self, uid: u32) -> Self {
        let new = self.uid.set_filesystem(uid, self.may(capability::SETUID));
        let mut capabilities = self.capabilities;
        capabilities.after_setfsuid(self.uid.filesystem, new.filesystem);
        Self { uid: new, capabilities, ..self.clone() }
    }

    pub(super) fn setfsgid(&self, gid: u32) -> Self {
        self.with_gid(self.gid.set_filesystem(gid, self.may(capability::SETGID)))
    }

    /// setgroups(2)
    pub(super) fn setgroups(&self, groups: Vec<u32>) -> Result<Self> {
        if !self.may(capability::SETGID) {
            return Err(Errno::PERM);
        }
        if groups.len() > GROUPS || groups.contains(&UNCHANGED) {
            return Err(Errno::INVAL);
        }
        Ok(Self { groups, ..self.clone() })
    }

    /// The same with other capabilities.
    pub(super) fn with(&self, capabilities: Capabilities) -> Self {
        Self { capabilities, ..self.clone() }
    }

    fn with_uid(&self, uid: Ids) -> Self {
        let mut capabilities = self.capabilities;
        capabilities.after_setuid(self.uid, uid);
        Self { uid, capabilities, ..self.clone() }
    }

    fn with_gid(&self, gid: Ids) -> Self {
        Self { gid, ..self.clone() }
    }

    /// execve(2): "If the set-user-ID bit is set on the program file …, then the
    /// effective user ID of the calling process is changed to that of the owner of the
    /// program file", "the effective user ID of the process is copied to the saved
    /// set-user-ID".
    pub(super) fn execute(&self, program: &Program) -> Self {
        let run_as = |ids: Ids, id: Option<u32>| {
            let effective = id.unwrap_or(ids.effective);
            Ids { effective, saved: effective, filesystem: effective, ..ids }
        };
        let (uid, gid) = (run_as(self.uid, program.uid), run_as(self.gid, program.gid));
        let changed = uid.effective != self.uid.effective || gid.effective != self.gid.effective;
        let mut capabilities = self.capabilities;
        capabilities.after_execve(uid, program.capabilities, changed);
        Self { uid, gid, groups: self.groups.clone(), capabilities }
    }
}

impl From<User> for Credentials {
    fn from(User { uid, gid, mut groups }: User) -> Self {
        groups.sort_unstable();
        Self::new(uid, gid, groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: u32 = UNCHANGED;

    fn root() -> Credentials {
        Credentials::new(0, 0, vec![0])
    }

    fn ids(ids: Ids) -> [u32; 4] {
        [ids.real, ids.effective, ids.saved, ids.filesystem]
    }

    #[test]
    fn setuid_of_root_gives_up_root_for_good() {
        let user = root().setuid(33).unwrap();
        assert_eq!(ids(user.uid), [33; 4]);
        assert_eq!(user.capabilities.permitted, 0);
        assert_eq!(user.setuid(0), Err(Errno::PERM));
        assert_eq!(user.setuid(33), Ok(user.clone()), "as each thread does after the first");
        assert_eq!(user.setuid(KEEP), Err(Errno::INVAL));
        assert_eq!(user.setgroups(vec![1]), Err(Errno::PERM));
        assert_eq!(user.setgid(1), Err(Errno::PERM));
    }

    #[test]
    fn seteuid_gives_root_up_for_a_while() {
        let user = root().setresuid(KEEP, 33, KEEP).unwrap();
        assert_eq!(ids(user.uid), [0, 33, 0, 33]);
        assert_eq!(user.capabilities.effective, 0);
        assert_ne!(user.capabilities.permitted, 0);
        let back = user.setresuid(KEEP, 0, KEEP).unwrap();
        assert_eq!(back, root());
        assert_eq!(user.setresuid(5, KEEP, KEEP), Err(Errno::PERM));
    }

    #[test]
    fn setreuid_sets_the_saved_id_as_the_manual_says() {
        assert_eq!(ids(root().setreuid(KEEP, 5).unwrap().uid), [0, 5, 5, 5]);
        assert_eq!(ids(root().setreuid(5, KEEP).unwrap().uid), [5, 0, 0, 0]);
        assert_eq!(ids(root().setreuid(KEEP, 0).unwrap().uid), [0; 4], "effective is the previous real one");
        let swapped = root().setresuid(5, 6, 5).unwrap().setreuid(6, 5).unwrap();
        assert_eq!(ids(swapped.uid), [6, 5, 5, 5]);
    }

    #[test]
    fn setfsuid_changes_what_concerns_files_alone() {
        let files = root().setfsuid(33);
        assert_eq!(ids(files.uid), [0, 0, 0, 33]);
        assert!(!files.may(capability::CHOWN) && files.may(capability::SETUID));
        assert_eq!(files.setfsuid(0), root());
        let user = root().setuid(33).unwrap();
        assert_eq!(user.setfsuid(0), user, "what is not allowed changes nothing");
    }

    #[test]
    fn keepcaps_keeps_what_is_permitted_until_execve() {
        let mut keeping = root();
        keeping.capabilities.securebits |= super::super::capabilities::KEEP_CAPS;
        let user = keeping.setresuid(33, 33, 33).unwrap();
        assert_eq!(user.capabilities.effective, 0);
        assert_eq!(user.capabilities.permitted, root().capabilities.permitted);
        let after = user.execute(&Program::default());
        assert_eq!(after.capabilities.permitted, 0);
        assert_eq!(after.capabilities.securebits, 0);
    }

    #[test]
    fn a_set_user_id_program_runs_as_its_owner() {
        let user = Credentials::new(1000, 1000, vec![1000]);
        let sudo = user.execute(&Program { uid: Some(0), ..Program::default() });
        assert_eq!(ids(sudo.uid), [1000, 0, 0, 0]);
        assert!(sudo.may(capability::SETUID));
        assert_eq!(ids(sudo.setresuid(0, 0, 0).unwrap().uid), [0; 4]);
        let crontab = root().execute(&Program { gid: Some(101), ..Program::default() });
        assert_eq!((ids(crontab.uid), ids(crontab.gid)), ([0; 4], [0, 101, 101, 101]));
        assert_eq!(root().execute(&Program::default()), root());
    }

    #[test]
    fn a_program_with_capabilities_gets_them() {
        let user = Credentials::new(1000, 1000, vec![]);
        let file = FileCapabilities { permitted: 1 << 13, inheritable: 0, effective: true };
        let ping = user.execute(&Program { capabilities: Some(file), ..Program::default() });
        assert_eq!((ping.capabilities.permitted, ping.capabilities.effective), (1 << 13, 1 << 13));
        assert_eq!(ping.execute(&Program::default()).capabilities.permitted, 0);
    }
}
