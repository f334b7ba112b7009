//! A container's loader is told of libraries that the image has not: ld.so(8) finds them by its
//! cache, which the image's own ldconfig(8) makes anew, or by `LD_LIBRARY_PATH`.

use std::fs;

use super::Error;
use crate::sandbox::{self, Machine, Mount, MountKind, Refusal, Rootfs, Sandbox, Step};

/// Where ldconfig(8) is.
const LDCONFIG: [&str; 2] = ["/sbin/ldconfig", "/usr/sbin/ldconfig"];

/// What names the directories to an ldconfig(8) that is run in the container later on, before
/// other directories.
const CONFIGURATION: &str = "/etc/ld.so.conf.d/00-dlpack.conf";

/// What ldconfig(8) makes.
const CACHE: &str = "/etc/ld.so.cache";

/// The variable of a loader that has no cache.
const VARIABLE: &str = "LD_LIBRARY_PATH";

/// Lets the loader of the container in which `step` is to run find what is in `directories`.
pub(super) fn find(
    sandbox: &mut Sandbox,
    rootfs: &Rootfs,
    step: &mut Step,
    directories: &[String],
) -> Result<(), Error> {
    if directories.is_empty() {
        return Ok(());
    }
    if let Some(ldconfig) = ldconfig(rootfs)? {
        let path = sandbox.directory().join("ld.so.conf");
        let lines: String = directories.iter().map(|directory| format!("{directory}\n")).collect();
        let failed = |source| sandbox::Error::Io { doing: "write", path: path.clone(), source };
        fs::write(&path, lines).map_err(failed)?;
        step.mounts.push(Mount::new(&path, CONFIGURATION, MountKind::ReadOnly));
        // "in the directories specified on the command line, in the file /etc/ld.so.conf, and in
        // the trusted directories"
        let words = [ldconfig].into_iter().chain(directories.iter().map(String::as_str));
        // a person's directories are none of its business
        let mounts = step.mounts.clone();
        let machine = Machine { read_only: false, ..step.machine.clone() };
        let update = Step { mounts, links: step.links.clone(), network: step.network, machine, ..Step::new(words) };
        match sandbox.run(&update, &mut |_| {}) {
            Err(sandbox::Error::Step { .. } | sandbox::Error::Refused(Refusal::Program { .. })) => {}
            Err(error) => return Err(error.into()),
            Ok(()) if !step.binds.iter().any(|bind| bind.covers(CACHE)) => return Ok(()),
            Ok(()) => {}
        }
    }
    // a loader of another kind, an image of a program alone, or a person's own /etc
    let own = step.env.get(VARIABLE).filter(|own| !own.is_empty()).cloned();
    let all: Vec<String> = own.into_iter().chain(directories.iter().cloned()).collect();
    step.env.insert(VARIABLE.to_owned(), all.join(":"));
    Ok(())
}

fn ldconfig(rootfs: &Rootfs) -> Result<Option<&'static str>, Error> {
    for path in LDCONFIG {
        if rootfs.entry(path.trim_start_matches('/'))?.is_some() {
            return Ok(Some(path));
        }
    }
    Ok(None)
}
