//! The commands of a RUN as a shell goes through them: which become layers of other kinds,
//! and whether the rest may be divided at those.

use std::collections::{BTreeMap, BTreeSet};

use super::shell::{Segment, Simple, simple};
use super::translate::Translator;
use super::words::{Variables, split};
use super::{account, apt, install};

/// What becomes of a command.
pub(super) enum Role {
    /// It is taken for packages or an account.
    Taken(Simple),
    /// It holds for the commands after it, and may be said again before them.
    Lasting(Simple),
    /// It leaves nothing that a layer has.
    Cleared,
    /// It is run.
    Left,
}

/// A command of a list.
pub(super) struct Command {
    pub(super) segment: Segment,
    pub(super) role: Role,
    /// What it has in its environment from commands before it, and from its own assignments.
    pub(super) environment: Vec<(String, String)>,
}

/// Variables of a shell, over those of the Dockerfile.
struct Local<'a> {
    outer: &'a dyn Variables,
    /// None for a value that only a shell knows.
    own: BTreeMap<String, Option<String>>,
    exported: BTreeSet<String>,
}

impl Variables for Local<'_> {
    fn value(&self, name: &str) -> Option<String> {
        self.own.get(name).map_or_else(|| self.outer.value(name), Clone::clone)
    }
}

impl Local<'_> {
    /// The environment of a command with the assignments `more` before it.
    fn environment(&self, more: &[(String, String)]) -> Vec<(String, String)> {
        let known = |name: &String| Some((name.clone(), self.own.get(name)?.clone()?));
        self.exported.iter().filter_map(known).chain(more.iter().cloned()).collect()
    }
}

/// What becomes of each command of a list; the error says why the list has to be run whole.
pub(super) fn roles(list: Vec<Segment>, translator: &Translator<'_>) -> Result<Vec<Command>, &'static str> {
    let mut local = Local { outer: translator, own: BTreeMap::new(), exported: BTreeSet::new() };
    let mut groups = translator.accounts.groups.clone();
    let mut commands: Vec<Command> = Vec::new();
    // The first command whose effect on the shell can't be said again.
    let mut opaque = None;
    for (at, segment) in list.iter().enumerate() {
        let read = simple(&segment.text, &local);
        let environment = local.environment(read.as_ref().map_or(&[], |read| &read.assignments));
        let role = match read {
            None => {
                if changes_shell(&segment.text, &mut local) {
                    opaque.get_or_insert(at);
                }
                Role::Left
            }
            Some(read) if read.words.is_empty() || is_lasting(&read.words) => {
                lasting(&mut local, &read);
                let is_about_apt = read.words.len() == 2 && read.words[1].starts_with("DEBIAN_FRONTEND=");
                if is_about_apt { Role::Cleared } else { Role::Lasting(read) }
            }
            Some(read) if is_clearing(&read.words) => Role::Cleared,
            Some(read) => {
                let next = list.get(at + 1).and_then(|next| simple(&next.text, &local));
                let next = next.map(|next| next.words).unwrap_or_default();
                // What was removed before leaves packages that nothing needs.
                let is_removal = translator.removes && apt::is_autoremoval(&read.words);
                if !is_removal && install::is_known(&read.words) || account::is_known(&read.words, &next, &mut groups) {
                    Role::Taken(read)
                } else {
                    if STATEFUL.contains(&read.words[0].as_str()) {
                        opaque.get_or_insert(at);
                    }
                    Role::Left
                }
            }
        };
        commands.push(Command { segment: segment.clone(), role, environment });
    }
    match whole(&commands, opaque, translator.has_sources) {
        Some(why) => Err(why),
        None => Ok(commands),
    }
}

/// Why a list that has commands for other layers is one step nevertheless.
fn whole(commands: &[Command], opaque: Option<usize>, has_sources: bool) -> Option<&'static str> {
    let is_taken = |command: &Command| matches!(command.role, Role::Taken(_));
    let last = commands.iter().rposition(is_taken)?;
    if opaque.is_some_and(|at| at < last) {
        return Some("what a command of it sets holds for those after it");
    }
    let installs = |command: &Command| installs_packages(&command.segment.text);
    let left = |command: &&Command| matches!(command.role, Role::Left);
    if commands.iter().filter(left).any(installs) {
        return Some("an installation of it is more than a list of packages");
    }
    if has_sources && commands.iter().any(installs) {
        return Some("its packages may come from a source that a command adds: an apt layer has `sources`");
    }
    let first = commands.iter().position(is_taken)?;
    let shares = |command: &Command| !temporary(&command.segment.text).is_empty();
    let before = commands[..last].iter().filter(left).any(shares);
    let after =
        commands[first..].iter().any(|command| matches!(command.role, Role::Left | Role::Taken(_)) && shares(command));
    (before && after).then_some("its commands share files in /tmp, which is in no layer")
}

/// What a builtin does to the shell that goes on, other than by a value.
const STATEFUL: [&str; 15] = [
    "alias", "declare", "eval", "exec", "mapfile", "popd", "pushd", "read", "readonly", "shift", "shopt", "trap",
    "typeset", "unset", "cd",
];

/// Whether a command that only a shell understands leaves something behind in it.
fn changes_shell(text: &str, local: &mut Local<'_>) -> bool {
    let words = split(text);
    let name = |word: &String| {
        let (name, _) = word.split_once('=')?;
        crate::recipe::Word::Variable.accepts(name).is_ok().then(|| name.to_owned())
    };
    let first = words.first().map_or("", String::as_str);
    let exports = matches!(first, "export" | "readonly" | "declare" | "typeset");
    let assigned: Vec<String> = if exports {
        words[1..].iter().filter_map(name).collect()
    } else if words.iter().all(|word| name(word).is_some()) || first.contains(['`', '(']) {
        words.iter().filter_map(name).collect()
    } else {
        Vec::new()
    };
    let assigns = !assigned.is_empty();
    local.own.extend(assigned.into_iter().map(|name| (name, None)));
    assigns || exports || STATEFUL.contains(&first) || is_lasting(&words)
}

/// Whether a command holds for those after it.
fn is_lasting(words: &[String]) -> bool {
    matches!(words.first().map(String::as_str), Some("cd" | "export" | "set" | "umask" | "." | "source" | "ulimit"))
}

fn lasting(local: &mut Local<'_>, read: &Simple) {
    let pair = |word: &String| word.split_once('=').map(|(name, value)| (name.to_owned(), Some(value.to_owned())));
    if read.words.first().is_some_and(|word| word == "export") {
        local.own.extend(read.words[1..].iter().filter_map(pair));
        let name = |word: &String| word.split('=').next().unwrap_or_default().to_owned();
        local.exported.extend(read.words[1..].iter().map(name));
    } else if read.words.is_empty() {
        local.own.extend(read.assignments.iter().map(|(name, value)| (name.clone(), Some(value.clone()))));
    }
}

/// Whether a command only takes away what no layer of dlpack's has.
fn is_clearing(words: &[String]) -> bool {
    const PASSING: [&str; 6] =
        ["/var/lib/apt/lists", "/var/cache/apt", "/var/cache/debconf", "/root/.cache", "~/.cache", "/tmp/"];
    let texts: Vec<&str> = words.iter().map(String::as_str).collect();
    match texts[..] {
        ["rm", ref paths @ ..] => {
            let mut paths = paths.iter().filter(|path| !path.starts_with('-')).peekable();
            paths.peek().is_some() && paths.all(|path| PASSING.iter().any(|passing| path.starts_with(passing)))
        }
        ["pip" | "pip3", "cache", ..] | ["true"] => true,
        _ => false,
    }
}

/// Whether a command needs the lists of Debian packages.
pub(super) fn installs_packages(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    let is_apt = |word: &&str| matches!(*word, "apt" | "apt-get");
    let needs = |word: &&str| matches!(*word, "install" | "build-dep" | "source" | "download");
    words.iter().position(is_apt).is_some_and(|at| words[at..].iter().any(needs))
}

/// Whether a command changes where Debian packages come from.
pub(super) fn adds_source(text: &str) -> bool {
    ["/etc/apt/", "add-apt-repository", "apt-key", "keyring"].iter().any(|sign| text.contains(sign))
}

/// The files in /tmp that a command speaks of, without what lies in them.
pub(super) fn temporary(text: &str) -> BTreeSet<String> {
    let ends = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-' | '*');
    let names = ["/tmp/", "/dev/shm/"].into_iter().flat_map(|directory| {
        text.match_indices(directory).map(move |(at, _)| {
            let rest = &text[at + directory.len()..];
            format!("{directory}{}", &rest[..rest.find(ends).unwrap_or(rest.len())])
        })
    });
    let into = ["cd /tmp", "-P /tmp", "-C /tmp", "mktemp"].iter().filter(|sign| text.contains(*sign));
    names.chain(into.map(|_| "/tmp".to_owned())).collect()
}
