//! getuid(2), setuid(2) and their families: credentials(7) as a process asks for them
//! and changes them.

use rustix::io::Errno;

use super::call::{Call, Width};
use super::capabilities::{Capabilities, Sets};
use super::credentials::{Credentials, Ids, UNCHANGED};
use super::tracee::Tracee;
use super::{Answer, Supervisor};

/// linux/highuid.h: what stands for an id that 16 bits can't say (`overflowuid`).
const OVERFLOW: u32 = 65_534;

/// capget(2): the version of one word a set, and those of two.
const VERSION_1: u32 = 0x1998_0330;
const VERSION_2: u32 = 0x2007_1026;
const VERSION_3: u32 = 0x2008_0522;

/// An id as an argument; linux/highuid.h: -1 in 16 bits is -1.
pub(super) fn widen(id: u32, width: Width) -> u32 {
    match width {
        Width::Wide => id,
        Width::Narrow if id & 0xffff == 0xffff => UNCHANGED,
        Width::Narrow => id & 0xffff,
    }
}

/// An id as a result.
pub(super) fn narrow(id: u32, width: Width) -> u32 {
    if width == Width::Narrow && id > 0xffff { OVERFLOW } else { id }
}

fn bytes(ids: &[u32], width: Width) -> Vec<u8> {
    match width {
        Width::Wide => ids.iter().flat_map(|id| id.to_ne_bytes()).collect(),
        Width::Narrow => ids.iter().flat_map(|id| (narrow(*id, width) as u16).to_ne_bytes()).collect(),
    }
}

impl Supervisor {
    /// getuid(2) and the like.
    pub(super) fn get(
        &self,
        tracee: &Tracee<'_>,
        width: Width,
        id: impl Fn(&Credentials) -> u32,
    ) -> Result<Answer, Errno> {
        let credentials = self.processes.credentials(tracee.pid)?;
        Ok(Answer::Value(narrow(id(&credentials), width).into()))
    }

    /// getresuid(2), getresgid(2): three places to write to.
    pub(super) fn get_three(&self, tracee: &Tracee<'_>, width: Width, ids: Ids) -> Result<Answer, Errno> {
        for (n, id) in [ids.real, ids.effective, ids.saved].into_iter().enumerate() {
            tracee.write(tracee.args[n], &bytes(&[id], width))?;
        }
        Ok(Answer::Value(0))
    }

    /// getgroups(2): size, list.
    pub(super) fn getgroups(&self, tracee: &Tracee<'_>, width: Width) -> Result<Answer, Errno> {
        let credentials = self.processes.credentials(tracee.pid)?;
        let (groups, size) = (&credentials.groups, tracee.int(0));
        let count = i32::try_from(groups.len()).map_err(|_| Errno::INVAL)?;
        // "If size is zero, list is not modified, but the total number … is returned."
        if size != 0 {
            if size < count {
                return Err(Errno::INVAL);
            }
            tracee.write(tracee.args[1], &bytes(groups, width))?;
        }
        Ok(Answer::Value(count.into()))
    }

    /// setuid(2) and all others that change credentials.
    pub(super) fn set(&mut self, tracee: &Tracee<'_>, call: Call) -> Result<Answer, Errno> {
        let old = self.processes.credentials(tracee.pid)?;
        let id = |n, width| widen(tracee.unsigned(n), width);
        let mut value = 0;
        let new = match call {
            Call::Setuid(width) => old.setuid(id(0, width))?,
            Call::Setgid(width) => old.setgid(id(0, width))?,
            Call::Setreuid(width) => old.setreuid(id(0, width), id(1, width))?,
            Call::Setregid(width) => old.setregid(id(0, width), id(1, width))?,
            Call::Setresuid(width) => old.setresuid(id(0, width), id(1, width), id(2, width))?,
            Call::Setresgid(width) => old.setresgid(id(0, width), id(1, width), id(2, width))?,
            // "On both success and failure, this call returns the previous filesystem user ID"
            Call::Setfsuid(width) => {
                value = narrow(old.uid.filesystem, width);
                old.setfsuid(id(0, width))
            }
            Call::Setfsgid(width) => {
                value = narrow(old.gid.filesystem, width);
                old.setfsgid(id(0, width))
            }
            Call::Setgroups(width) => old.setgroups(groups(tracee, width)?)?,
            Call::Capset => self.capset(tracee, &old)?,
            _ => return Err(Errno::NOSYS),
        };
        if new != *old {
            self.processes.set(tracee.pid, new)?;
        }
        Ok(Answer::Value(value.into()))
    }

    /// capget(2): header, data.
    pub(super) fn capget(&self, tracee: &Tracee<'_>) -> Result<Answer, Errno> {
        let Some((words, pid)) = header(tracee)? else {
            // "if the caller probes the kernel's preferred version", with a null pointer
            return if tracee.args[1] == 0 { Ok(Answer::Value(0)) } else { Err(Errno::INVAL) };
        };
        let of = if pid == 0 { tracee.pid } else { pid };
        let Capabilities { effective, permitted, inheritable, .. } = self.processes.credentials(of)?.capabilities;
        let word = |n: usize| [effective, permitted, inheritable].map(|set| ((set >> (32 * n)) as u32).to_ne_bytes());
        let data: Vec<u8> = (0..words).flat_map(word).flatten().collect();
        if tracee.args[1] != 0 {
            tracee.write(tracee.args[1], &data)?;
        }
        Ok(Answer::Value(0))
    }

    /// capset(2): header, data.
    fn capset(&self, tracee: &Tracee<'_>, old: &Credentials) -> Result<Credentials, Errno> {
        let (words, pid) = header(tracee)?.ok_or(Errno::INVAL)?;
        // "the only permitted values … 0 … or the equivalent, the caller's thread ID"
        if pid != 0 && pid != tracee.pid {
            return Err(Errno::PERM);
        }
        let mut data = [0; 24];
        tracee.read_into(tracee.args[1], &mut data[..12 * words])?;
        let set = |n: usize| {
            let word = |at: usize| {
                let bytes = [data[at], data[at + 1], data[at + 2], data[at + 3]];
                u64::from(u32::from_ne_bytes(bytes))
            };
            word(4 * n) | word(12 + 4 * n) << 32
        };
        let sets = Sets { effective: set(0), permitted: set(1), inheritable: set(2) };
        Ok(old.with(old.capabilities.set(sets)?))
    }

    /// prctl(2), of the options that concern capabilities.
    pub(super) fn prctl(&mut self, tracee: &Tracee<'_>) -> Result<Answer, Errno> {
        let [option, argument, second, ..] = tracee.args;
        let old = self.processes.credentials(tracee.pid)?;
        let (value, new) = old.capabilities.prctl(option & 0xffff_ffff, argument, second)?;
        if let Some(capabilities) = new.filter(|new| *new != old.capabilities) {
            self.processes.set(tracee.pid, old.with(capabilities))?;
        }
        Ok(Answer::Value(value))
    }
}

/// setgroups(2): size, list. The kernel keeps them sorted.
fn groups(tracee: &Tracee<'_>, width: Width) -> Result<Vec<u32>, Errno> {
    let size = match width {
        Width::Narrow => 2,
        Width::Wide => 4,
    };
    let count = usize::try_from(tracee.int(0)).ok().filter(|count| *count <= 65_536).ok_or(Errno::INVAL)?;
    let mut list = vec![0; count * size];
    tracee.read_into(tracee.args[1], &mut list)?;
    let id = |bytes: &[u8]| match *bytes {
        [a, b] => widen(u16::from_ne_bytes([a, b]).into(), width),
        [a, b, c, d] => u32::from_ne_bytes([a, b, c, d]),
        _ => UNCHANGED,
    };
    let mut groups: Vec<u32> = list.chunks(size).map(id).collect();
    groups.sort_unstable();
    Ok(groups)
}

/// capget(2)'s header: how many words a set has, and whose sets are meant. None for a
/// version that is none; the preferred one is written in its place.
fn header(tracee: &Tracee<'_>) -> Result<Option<(usize, i32)>, Errno> {
    let [a, b, c, d, pid @ ..] = tracee.read::<8>(tracee.args[0])?;
    let pid = i32::from_ne_bytes(pid);
    match u32::from_ne_bytes([a, b, c, d]) {
        _ if pid < 0 => Err(Errno::INVAL),
        VERSION_1 => Ok(Some((1, pid))),
        VERSION_2 | VERSION_3 => Ok(Some((2, pid))),
        _ => {
            tracee.write(tracee.args[0], &VERSION_3.to_ne_bytes())?;
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_sixteen_bits_are_read_and_written_as_the_kernel_does() {
        assert_eq!(widen(0x1_ffff, Width::Narrow), UNCHANGED);
        assert_eq!(widen(0x1_0005, Width::Narrow), 5);
        assert_eq!(widen(100_000, Width::Wide), 100_000);
        assert_eq!((narrow(100_000, Width::Narrow), narrow(100_000, Width::Wide)), (OVERFLOW, 100_000));
        assert_eq!(bytes(&[1, 100_000], Width::Narrow), [1_u16.to_ne_bytes(), 65_534_u16.to_ne_bytes()].concat());
    }
}
