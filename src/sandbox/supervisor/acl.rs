//! acl(5) in the form of its extended attributes (linux/posix_acl_xattr.h). Pure.

/// An access control list: tag, permissions, and id of each entry, in the attribute's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Acl(Vec<Entry>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    tag: u16,
    permissions: u16,
    id: u32,
}

/// `POSIX_ACL_XATTR_VERSION`
const VERSION: u32 = 2;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

impl Acl {
    /// The list of an attribute's value; none if it is none, and the kernel says so.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let (version, entries) = value.split_first_chunk::<4>()?;
        if u32::from_le_bytes(*version) != VERSION || entries.len() % 8 != 0 || entries.is_empty() {
            return None;
        }
        let half = |bytes: &[u8]| u16::from_le_bytes([bytes[0], bytes[1]]);
        let entry = |bytes: &[u8]| Entry {
            tag: half(bytes),
            permissions: half(&bytes[2..]),
            id: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        };
        let acl = Self(entries.chunks(8).map(entry).collect());
        let count = |tag| acl.0.iter().filter(|entry| entry.tag == tag).count();
        // acl(5), "VALID ACLs": exactly one of each of the three, and a mask with named entries
        let valid = [USER_OBJ, GROUP_OBJ, OTHER].into_iter().all(|tag| count(tag) == 1)
            && count(MASK) == usize::from(acl.names_anybody() || count(MASK) == 1)
            && acl.0.iter().all(|entry| entry.permissions <= 7);
        valid.then_some(acl)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut value = VERSION.to_le_bytes().to_vec();
        for entry in &self.0 {
            value.extend_from_slice(&entry.tag.to_le_bytes());
            value.extend_from_slice(&entry.permissions.to_le_bytes());
            value.extend_from_slice(&entry.id.to_le_bytes());
        }
        value
    }

    /// Whether an entry is for one user or group, whose id has no name in a user
    /// namespace of one uid.
    pub(super) fn names_anybody(&self) -> bool {
        self.0.iter().any(|entry| matches!(entry.tag, USER | GROUP))
    }

    fn permissions(&self, tag: u16) -> Option<u32> {
        self.0.iter().find(|entry| entry.tag == tag).map(|entry| entry.permissions.into())
    }

    /// acl(5), "CORRESPONDENCE BETWEEN ACL ENTRIES AND FILE PERMISSION BITS": the group's
    /// bits are the mask's, if there is one.
    pub(super) fn mode(&self) -> u32 {
        let group = self.permissions(MASK).or(self.permissions(GROUP_OBJ));
        let [owner, group, other] = [self.permissions(USER_OBJ), group, self.permissions(OTHER)];
        owner.unwrap_or_default() << 6 | group.unwrap_or_default() << 3 | other.unwrap_or_default()
    }

    /// The same list after chmod(2) to `mode`.
    pub(super) fn with_mode(mut self, mode: u32) -> Self {
        let group = if self.permissions(MASK).is_some() { MASK } else { GROUP_OBJ };
        for entry in &mut self.0 {
            let bits = match entry.tag {
                USER_OBJ => mode >> 6,
                OTHER => mode,
                tag if tag == group => mode >> 3,
                _ => continue,
            };
            entry.permissions = (bits & 7) as u16;
        }
        self
    }

    /// The list without its named entries, with the same permission bits: what a file
    /// made under this default list gets of it is then the same.
    pub(super) fn without_names(&self) -> Self {
        let mode = self.mode();
        let entry = |tag, bits: u32| Entry { tag, permissions: (bits & 7) as u16, id: u32::MAX };
        Self(vec![entry(USER_OBJ, mode >> 6), entry(GROUP_OBJ, mode >> 3), entry(OTHER, mode)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `user::rwx,group::r-x,group:4:r-x,mask::r-x,other::---`, as systemd sets it for adm.
    fn journal() -> Vec<u8> {
        let entries: [(u16, u16, u32); 5] = [
            (USER_OBJ, 7, u32::MAX),
            (GROUP_OBJ, 4, u32::MAX),
            (GROUP, 5, 4),
            (MASK, 5, u32::MAX),
            (OTHER, 0, u32::MAX),
        ];
        Acl(entries.map(|(tag, permissions, id)| Entry { tag, permissions, id }).to_vec()).encode()
    }

    #[test]
    fn a_list_is_its_mode_and_follows_chmod() {
        let acl = Acl::parse(&journal()).unwrap();
        assert!(acl.names_anybody());
        assert_eq!((acl.mode(), acl.encode()), (0o750, journal()));
        assert_eq!(acl.clone().with_mode(0o711).mode(), 0o711);
        let without = acl.without_names();
        assert_eq!((without.mode(), without.names_anybody()), (0o750, false));
        assert_eq!(Acl::parse(&without.encode()), Some(without));
    }

    #[test]
    fn what_is_no_list_is_left_to_the_kernel() {
        let journal = journal();
        let without_mask = [&journal[..28], &journal[36..]].concat();
        for wrong in [&b""[..], &journal[..4], &journal[..30], &[3, 0, 0, 0], &without_mask] {
            assert_eq!(Acl::parse(wrong), None, "{wrong:?}");
        }
    }
}
