//! The directory that stands for this machine's `/`: what is looked up in it never leads out.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::sandbox::{MOST_LINKS, components};

/// The directory under which the driver, its devices and the CDI specifications lie.
const VARIABLE: &str = "DLPACK_DRIVER_ROOT";

/// Where programs are looked for.
const PROGRAMS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The directory that stands for this machine's `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// `directory` as a machine's `/`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self(directory.into())
    }

    /// What `DLPACK_DRIVER_ROOT` names; this machine's `/` without it.
    pub fn of_machine() -> Self {
        let named = std::env::var_os(VARIABLE).filter(|directory| !directory.is_empty());
        Self(named.map_or_else(|| "/".into(), PathBuf::from))
    }

    /// Where `path` of the machine is, links not followed.
    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The path of the machine to which `path` of it leads, all links followed inside of the
    /// root.
    ///
    /// # Errors
    /// If there is nothing, or only a loop.
    pub fn resolve(&self, path: impl AsRef<Path>) -> io::Result<PathBuf> {
        let mut rest: Vec<PathBuf> = components(path.as_ref());
        let (mut resolved, mut links) = (PathBuf::from("/"), 0);
        while let Some(name) = rest.pop() {
            if name == Path::new("..") {
                resolved.pop();
                continue;
            }
            let next = resolved.join(&name);
            if !self.at(&next).symlink_metadata()?.is_symlink() {
                resolved = next;
                continue;
            }
            links += 1;
            if links > MOST_LINKS {
                return Err(rustix::io::Errno::LOOP.into());
            }
            let target = fs::read_link(self.at(&next))?;
            if target.is_absolute() {
                resolved = "/".into();
            }
            rest.extend(components(&target));
        }
        Ok(resolved)
    }

    /// Where that is under the root.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn find(&self, path: impl AsRef<Path>) -> io::Result<PathBuf> {
        Ok(self.at(self.resolve(path)?))
    }

    /// The content of the file to which `path` leads; none if there is none that can be read.
    pub fn read(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        fs::read(self.find(path).ok()?).ok()
    }

    /// The same as text.
    pub fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        Some(String::from_utf8_lossy(&self.read(path)?).into_owned())
    }

    /// The names in the directory at `path`, sorted; none if there is no directory.
    pub fn names(&self, path: impl AsRef<Path>) -> Vec<String> {
        let entries = self.find(path).and_then(fs::read_dir);
        let names = entries.into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// The path of the machine at which the program `name` is; none if there is none.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        let paths = PROGRAMS.iter().map(|directory| Path::new(directory).join(name));
        paths.into_iter().find_map(|path| self.resolve(path).ok())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_stay_inside_of_the_root() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        fs::create_dir_all(root.at("/usr/lib/nvidia")).unwrap();
        fs::write(root.at("/usr/lib/nvidia/libcuda.so.1.2"), "here").unwrap();
        symlink("usr/lib", root.at("/lib")).unwrap();
        symlink("/etc/alternatives/cuda", root.at("/usr/lib/libcuda.so.1")).unwrap();
        fs::create_dir_all(root.at("/etc/alternatives")).unwrap();
        symlink("../../../../usr/lib/nvidia/libcuda.so.1.2", root.at("/etc/alternatives/cuda")).unwrap();
        symlink("loop", root.at("/loop")).unwrap();
        symlink("/etc/passwd", root.at("/out")).unwrap();
        assert_eq!(root.resolve("/lib/libcuda.so.1").unwrap(), Path::new("/usr/lib/nvidia/libcuda.so.1.2"));
        assert_eq!(root.text("lib/libcuda.so.1").as_deref(), Some("here"));
        assert_eq!(root.names("/lib"), ["libcuda.so.1", "nvidia"]);
        for nothing in ["/loop", "/out", "/none"] {
            assert!(root.resolve(nothing).is_err(), "{nothing}");
        }
    }
}
