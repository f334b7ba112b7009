//! What this process may use: getrlimit(2) and the memory of its control group.

use std::fs;
use std::path::Path;

use serde::Serialize;

/// What this process may use. Nothing where there is no limit, or nobody says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// How many files it may have open: RLIMIT_NOFILE, the soft one.
    pub open_files: Option<u64>,
    /// How many processes its user may have: RLIMIT_NPROC, the soft one.
    pub processes: Option<u64>,
    /// How large a file it may write, in bytes: RLIMIT_FSIZE, the soft one.
    pub file_size: Option<u64>,
    /// How much memory its control group may use, in bytes.
    pub memory: Option<u64>,
    /// How much memory is free or could be, in bytes: `MemAvailable`.
    pub memory_available: Option<u64>,
}

impl Limits {
    /// What procfs and the control groups under `root` say of this process.
    pub fn read(root: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        let limits = read("proc/self/limits");
        Self {
            open_files: soft(&limits, "Max open files"),
            processes: soft(&limits, "Max processes"),
            file_size: soft(&limits, "Max file size"),
            memory: memory(root, &read("proc/self/cgroup")),
            memory_available: available(&read("proc/meminfo")),
        }
    }
}

/// proc(5), /proc/PID/limits: the limit's name, soft, hard, units.
fn soft(limits: &str, name: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The least of what the group and those above it may use: cgroup-v2.rst `memory.max`, and
/// cgroup-v1/memory.rst `memory.limit_in_bytes`.
fn memory(root: &Path, groups: &str) -> Option<u64> {
    // cgroups(7), /proc/PID/cgroup: hierarchy-ID:controller-list:cgroup-path; v2 is 0::PATH
    let each = groups.lines().filter_map(|line| {
        let (_, line) = line.split_once(':')?;
        let (controllers, path) = line.split_once(':')?;
        match controllers {
            "" => Some(("sys/fs/cgroup", path, "memory.max")),
            _ if controllers.split(',').any(|name| name == "memory") => {
                Some(("sys/fs/cgroup/memory", path, "memory.limit_in_bytes"))
            }
            _ => None,
        }
    });
    let limits = each.flat_map(|(mounted, path, file)| {
        let path = Path::new(path.trim_start_matches('/'));
        // the group may be out of this process's sight, as a container's own is; its root is not
        path.ancestors().filter_map(move |group| {
            let text = fs::read_to_string(root.join(mounted).join(group).join(file)).ok()?;
            text.trim().parse::<u64>().ok()
        })
    });
    // v1 says a number near 2⁶³ where v2 says "max"
    limits.min().filter(|limit| *limit < 1 << 60)
}

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}
