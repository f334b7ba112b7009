//! What the instructions so far tell of the image's tree: which paths are directories, and
//! which are links to others. COPY into a directory goes by that.

use std::collections::{BTreeMap, BTreeSet};

use super::translate::absolute;
use super::words::{Variables, meaning, split};

/// Directories that every base has.
const KNOWN: [&str; 26] = [
    "/",
    "/bin",
    "/etc",
    "/etc/apt",
    "/etc/apt/sources.list.d",
    "/etc/cron.d",
    "/etc/ld.so.conf.d",
    "/etc/profile.d",
    "/etc/sudoers.d",
    "/home",
    "/media",
    "/mnt",
    "/opt",
    "/root",
    "/sbin",
    "/srv",
    "/tmp",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/local",
    "/usr/local/bin",
    "/usr/local/lib",
    "/usr/share",
    "/var",
    "/var/lib",
];

/// The part of the image's tree that is known.
#[derive(Debug, Default)]
pub(super) struct Tree {
    directories: BTreeSet<String>,
    /// Links with the path that each leads to.
    links: BTreeMap<String, String>,
}

impl Tree {
    /// Adds a directory.
    pub(super) fn add(&mut self, path: String) {
        self.directories.insert(path);
    }

    /// Whether there is a directory at `path`: one that was made, or that something lies in.
    pub(super) fn is_directory(&self, path: &str) -> bool {
        let below = format!("{}/", path.trim_end_matches('/'));
        let is_known = |known: &String| known == path || known.starts_with(&below);
        KNOWN.contains(&path) || self.directories.iter().any(is_known)
    }

    /// `path` where the links on it lead to: a layer with a path through a link would put a
    /// directory in the link's place.
    pub(super) fn resolved(&self, path: &str) -> String {
        // path_resolution(7): ELOOP after 40 links
        let mut path = path.to_owned();
        for _ in 0..40 {
            let found = self.links.iter().find_map(|(link, target)| {
                let rest = path.strip_prefix(link.as_str())?;
                (rest.is_empty() || rest.starts_with('/')).then(|| format!("{target}{rest}"))
            });
            match found {
                Some(next) => path = next,
                None => break,
            }
        }
        path
    }

    /// Adds what a shell's command tells, however it is put together: it begins in `workdir`.
    pub(super) fn told_by(&mut self, command: &str, workdir: &str, variables: &dyn Variables) {
        let mut workdir = workdir.to_owned();
        for simple in command.replace("\\\n", " ").split(['\n', ';', '&', '|', '(', ')']) {
            let words: Option<Vec<String>> = split(simple).iter().map(|word| meaning(word, variables).ok()).collect();
            let words = words.unwrap_or_default();
            let begin = words.iter().position(|word| !is_before_a_command(word)).unwrap_or(words.len());
            let Some((program, arguments)) = words[begin..].split_first() else { continue };
            self.command(program, arguments, &mut workdir);
        }
    }

    fn command(&mut self, program: &str, arguments: &[String], workdir: &mut String) {
        let is_flag = |names: &[&str]| arguments.iter().any(|word| names.contains(&word.as_str()));
        let paths: Vec<String> = operands(program, arguments).map(|path| absolute(workdir, path)).collect();
        let above = |path: &String| absolute(path, "..");
        match program {
            "mkdir" => self.directories.extend(paths),
            "install" if is_flag(&["-d", "--directory"]) => self.directories.extend(paths),
            "cd" | "pushd" => {
                if let [path] = &paths[..] {
                    self.directories.insert(path.clone());
                    path.clone_into(workdir);
                }
            }
            "ln" if is_flag(&["-s", "-sf", "-fs", "-sfn", "-snf", "-sT", "-sfT", "--symbolic"]) => {
                let [_, link] = &paths[..] else { return };
                let target = operands(program, arguments).next().unwrap_or_default();
                // symlink(7): a relative target is one from the link's own directory
                let target = absolute(&above(link), target);
                self.directories.insert(above(link));
                if !self.is_directory(link) {
                    self.links.insert(link.clone(), target);
                }
            }
            "chown" | "chgrp" | "chmod" if is_flag(&["-R", "--recursive"]) => {
                self.directories.extend(paths.into_iter().skip(1));
            }
            "chown" | "chgrp" | "chmod" => self.directories.extend(paths[1.min(paths.len())..].iter().map(above)),
            "touch" => self.directories.extend(paths.iter().map(above)),
            "git" if arguments.first().is_some_and(|word| word == "clone") => {
                // git-clone(1): `git clone [<options>] <repository> [<directory>]`
                if let [_, _, directory] = &paths[..] {
                    self.directories.insert(directory.clone());
                }
            }
            _ => {}
        }
    }
}

/// Whether a word stands before a command's own name: an assignment, a reserved word.
fn is_before_a_command(word: &str) -> bool {
    let assigned = word.split_once('=').is_some_and(|(name, _)| crate::recipe::Word::Variable.accepts(name).is_ok());
    assigned || matches!(word, "then" | "else" | "do" | "if" | "elif" | "while" | "until" | "{" | "!" | "sudo")
}

/// The operands of a command, without its options and their values.
fn operands<'a>(program: &str, arguments: &'a [String]) -> impl Iterator<Item = &'a str> {
    let valued: &[&str] = match program {
        "mkdir" => &["-m", "--mode"],
        "install" => &["-m", "--mode", "-o", "--owner", "-g", "--group"],
        "touch" => &["-d", "-r", "-t", "--date", "--reference"],
        "git" => &["-b", "--branch", "--depth", "-c", "--config", "-j", "--jobs", "--shallow-since"],
        _ => &[],
    };
    let mut rest = arguments.iter();
    std::iter::from_fn(move || {
        loop {
            let word = rest.next()?;
            if valued.contains(&word.as_str()) {
                rest.next();
            } else if !word.starts_with('-') && !word.contains(['*', '?', '>', '<', '`']) && !word.contains("$(") {
                return Some(word.as_str());
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::words::Variables;
    use super::Tree;

    struct Home;

    impl Variables for Home {
        fn value(&self, name: &str) -> Option<String> {
            (name == "HOME").then(|| "/root".to_owned())
        }
    }

    #[test]
    fn commands_tell_of_directories_however_they_are_put_together() {
        let mut tree = Tree::default();
        let command = "set -e; if true; then mkdir -p -m 755 /a/b c; fi\ncd /d && mkdir e \"$HOME/f\" || exit 1\n\
                       install -d -o 1000 /g; touch /h/file; chown -R 1:1 /i; chmod 644 /j/file; \\\n  sudo mkdir /k; \
                       git clone --depth 1 https://example.org/x /l; mkdir $UNKNOWN /m; for x in 1; do mkdir /n; done";
        tree.told_by(command, "/w", &Home);
        for known in ["/a", "/a/b", "/w/c", "/d", "/d/e", "/root/f", "/g", "/h", "/i", "/j", "/k", "/l", "/n", "/opt"] {
            assert!(tree.is_directory(known), "{known}: {tree:?}");
        }
        for unknown in ["/h/file", "/j/file", "/m", "/755", "/e", "/1000"] {
            assert!(!tree.is_directory(unknown), "{unknown}: {tree:?}");
        }
    }

    #[test]
    fn a_path_through_a_link_is_the_one_that_it_leads_to() {
        let mut tree = Tree::default();
        tree.told_by("mkdir -p /data/v1 && ln -s /data/v1 /srv/data && ln -sfn data /srv/current", "/", &Home);
        assert_eq!(tree.resolved("/srv/data"), "/data/v1");
        assert_eq!(tree.resolved("/srv/current/x"), "/data/v1/x");
        assert_eq!(tree.resolved("/srv/database"), "/srv/database");
        tree.told_by("ln -s b /a; ln -s a /b", "/", &Home);
        assert!(tree.resolved("/a/x").ends_with("/x"));
    }
}
