//! Who a step runs as, looked up in the root filesystem's own passwd(5) and group(5).

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::Refusal;
use super::places::Root;

/// How much of a database is read, in bytes: a hostile one may have no end.
const LONGEST: u64 = 16 << 20;

/// Who a step runs as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Credentials {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

/// Who the caller of dlpack is in a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Identity {
    /// Root, who can make files another's: a supervisor keeps the record of owners.
    Root,
    /// A user of the root filesystem, by the kernel alone. All files of the root, which are
    /// the caller's, show as this user's.
    User {
        /// The user's number.
        uid: u32,
        /// The group's number.
        gid: u32,
    },
}

impl Identity {
    /// Who `uid` and `gid` are.
    pub fn of(uid: u32, gid: u32) -> Self {
        if uid == 0 { Self::Root } else { Self::User { uid, gid } }
    }

    /// The numbers of user and group.
    pub(super) fn ids(self) -> (u32, u32) {
        match self {
            Self::Root => (0, 0),
            Self::User { uid, gid } => (uid, gid),
        }
    }
}

/// A user of a root filesystem as passwd(5) has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The login name; the number where passwd(5) has no line for it.
    pub name: String,
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// The home directory; `/` where passwd(5) has none.
    pub home: String,
}

/// Who `user` is by `passwd` and `group`.
pub(super) fn account(user: &str, passwd: &str, group: &str) -> Result<Account, Refusal> {
    let Credentials { uid, gid, .. } = resolve(user, passwd, group)?;
    let name = user.split_once(':').map_or(user, |(user, _)| user);
    let entries = || passwd.lines().map(fields).filter(|entry| entry[2].parse() == Ok(uid));
    let entry = entries().find(|entry| entry[0] == name).or_else(|| entries().next());
    // login(1): without a home directory it is `/`
    let home = entry.map(|entry| entry[5]).filter(|home| home.starts_with('/')).unwrap_or("/").to_owned();
    Ok(Account { name: entry.map_or_else(|| uid.to_string(), |entry| entry[0].to_owned()), uid, gid, home })
}

/// image-spec `config.md`, User: "`user`, `uid`, `user:group`, `uid:gid`, `uid:group`,
/// `user:gid`"; "if group/gid is not specified, the default group and supplementary
/// groups of the given user/uid in /etc/passwd and /etc/group from the container are
/// applied".
pub(super) fn look_up(user: &str, root: &Root) -> Result<Credentials, Refusal> {
    let read = |path| String::from_utf8_lossy(&root.read(path, LONGEST)).into_owned();
    resolve(user, &read("etc/passwd"), &read("etc/group"))
}

/// Who `user` is in the root of this process.
pub(super) fn here(user: &str) -> Result<(Credentials, Account), Refusal> {
    // the supervisor of a step, under which this process may be, lets nobody use openat2(2)
    let read = |path: &str| {
        let mut content = Vec::new();
        // a FIFO without a writer would never open
        let opened = File::options().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path);
        let _ = opened.and_then(|file| file.take(LONGEST).read_to_end(&mut content));
        String::from_utf8_lossy(&content).into_owned()
    };
    let (passwd, group) = (read("/etc/passwd"), read("/etc/group"));
    Ok((resolve(user, &passwd, &group)?, account(user, &passwd, &group)?))
}

fn resolve(user: &str, passwd: &str, group: &str) -> Result<Credentials, Refusal> {
    let (user, wanted) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (user, None),
    };
    let number = user.parse::<u32>().ok();
    // passwd(5): name:password:UID:GID:GECOS:directory:shell
    let entries = || passwd.lines().map(fields);
    let entry = entries().find(|entry| entry[0] == user);
    let entry = entry.or_else(|| entries().find(|entry| number.is_some() && entry[2].parse().ok() == number));
    let uid = match (&entry, number) {
        (Some(entry), _) if entry[0] == user => entry[2].parse().ok(),
        (_, number) => number,
    };
    let unknown = |database: &str, name: &str| Refusal::User { database: database.to_owned(), name: name.to_owned() };
    let uid = uid.ok_or_else(|| unknown("passwd", user))?;
    if let Some(wanted) = wanted {
        let named = group.lines().map(fields).find(|entry| entry[0] == wanted).and_then(|entry| entry[2].parse().ok());
        let gid = named.or_else(|| wanted.parse().ok()).ok_or_else(|| unknown("group", wanted))?;
        return Ok(Credentials { uid, gid, groups: Vec::new() });
    }
    let gid = entry.and_then(|entry| entry[3].parse().ok()).unwrap_or(0);
    let name = entry.map_or("", |entry| entry[0]);
    // group(5): name:password:GID:members
    let member = |entry: &[&str; 6]| !name.is_empty() && entry[3].split(',').any(|member| member == name);
    let groups = group.lines().map(fields).filter(member).filter_map(|entry| entry[2].parse().ok()).collect();
    Ok(Credentials { uid, gid, groups })
}

/// The first six fields of a line; those that are missing are empty.
fn fields(line: &str) -> [&str; 6] {
    let mut fields = line.split(':');
    [(); 6].map(|()| fields.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\ndev:x:1001:1002::/home/dev:/bin/sh\nbroken\n77:x:5:5::/:\n";
    const GROUP: &str = "root:x:0:\ndev:x:1002:\naudio:x:29:other,dev\nvideo:x:44:dev\nbroken\n";

    #[test]
    fn users_are_looked_up_as_the_image_spec_says() {
        let of = |user: &str| resolve(user, PASSWD, GROUP).map(|found| (found.uid, found.gid, found.groups)).ok();
        assert_eq!(of("root"), Some((0, 0, vec![])));
        assert_eq!(of("dev"), Some((1001, 1002, vec![29, 44])));
        assert_eq!(of("1001"), Some((1001, 1002, vec![29, 44])));
        assert_eq!(of("1001:video"), Some((1001, 44, vec![])));
        assert_eq!(of("dev:7"), Some((1001, 7, vec![])));
        assert_eq!(of("4000"), Some((4000, 0, vec![])));
        assert_eq!(of("77"), Some((5, 5, vec![])), "a name of digits is a name first, as getpwnam(3) has it");
        for unknown in ["", "nobody", "dev:nogroup", "-1", "4294967296", "broken"] {
            assert_eq!(of(unknown), None, "{unknown:?}");
        }
    }
}
