//! The C library of a root filesystem, as far as the names of its files tell.

use crate::oci::Platform;

/// The glibc that is taken to be there where it is 2.34 or later: from there on it doesn't tell its
/// version by file names, and hardly a wheel needs more.
pub const GLIBC: u32 = 34;

/// A C library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Libc {
    /// glibc, by its minor version; [`GLIBC`] is that or later.
    Glibc(u32),
    /// musl, by its dynamic linker.
    Musl(String),
}

impl Libc {
    /// The C library for `platform` where `has` says which paths there are; nothing if none lies
    /// where it usually does.
    pub fn of(platform: &Platform, has: impl Fn(&str) -> bool) -> Option<Self> {
        let machine = if platform.architecture == "arm64" { "aarch64" } else { "x86_64" };
        let directories =
            [format!("/lib/{machine}-linux-gnu"), "/lib64".into(), format!("/usr/lib/{machine}-linux-gnu")];
        let has_library = |name: &str| directories.iter().any(|directory| has(&format!("{directory}/{name}")));
        // Up to 2.33, libc.so.6 is a link to `libc-2.33.so`.
        if let Some(minor) = (5..GLIBC).rev().find(|minor| has_library(&format!("libc-2.{minor}.so"))) {
            return Some(Self::Glibc(minor));
        }
        if has_library("libc.so.6") {
            return Some(Self::Glibc(GLIBC));
        }
        let musl = format!("/lib/ld-musl-{machine}.so.1");
        has(&musl).then_some(Self::Musl(musl))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_say_how_old_glibc_is_and_whether_it_is_musl() {
        let platform: Platform = "linux/amd64".parse().unwrap();
        let libc = |files: &[&str]| Libc::of(&platform, |path| files.contains(&path));
        assert_eq!(libc(&["/lib/x86_64-linux-gnu/libc.so.6"]), Some(Libc::Glibc(GLIBC)));
        let both = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib/x86_64-linux-gnu/libc-2.31.so"];
        assert_eq!(libc(&both), Some(Libc::Glibc(31)));
        assert_eq!(libc(&["/lib64/libc-2.28.so"]), Some(Libc::Glibc(28)));
        assert_eq!(libc(&[]), None);
        let musl = "/lib/ld-musl-x86_64.so.1";
        assert_eq!(libc(&[musl]), Some(Libc::Musl(musl.into())));
        assert_eq!(libc(&[musl, "/lib64/libc.so.6"]), Some(Libc::Glibc(GLIBC)));
    }
}
