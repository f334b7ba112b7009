//! `apt-get` in a RUN: what it installs is an apt layer.

use super::super::draft::{Apt, Draft, Kind, Layer, Part};
use super::super::note::{Item, Note, Place};
use super::syntax::Instruction;
use super::translate::Translator;
use crate::recipe::Word;

/// What apt-get(8) is given.
#[derive(Debug, Default, PartialEq, Eq)]
struct Given {
    /// The command and what it is about.
    operands: Vec<String>,
    /// Whether what packages recommend is installed, where an option says so.
    recommends: Option<bool>,
    /// Options that an apt layer has no word for.
    unsaid: Vec<String>,
}

/// Options that have no say in what is installed.
const PASSING: [&str; 14] = [
    "--allow-change-held-packages",
    "--allow-releaseinfo-change",
    "--assume-yes",
    "--auto-remove",
    "--autoremove",
    "--fix-broken",
    "--fix-missing",
    "--no-install-suggests",
    "--no-upgrade",
    "--purge",
    "--quiet",
    "--show-progress",
    "--verbose-versions",
    "--yes",
];

/// Settings of apt.conf(5) that have none either, in lower case.
const PASSING_SETTINGS: [&str; 8] = [
    "acquire::http::pipeline-depth",
    "acquire::http::timeout",
    "acquire::https::timeout",
    "acquire::queue-mode",
    "acquire::retries",
    "apt::color",
    "dpkg::progress-fancy",
    "dpkg::use-pty",
];

/// Whether a command is one of apt's that an apt layer says.
pub(super) fn is_known(words: &[String]) -> bool {
    const SAID: [&str; 8] =
        ["update", "clean", "autoclean", "autoremove", "upgrade", "dist-upgrade", "full-upgrade", "install"];
    arguments(words)
        .and_then(given)
        .and_then(|given| given.operands.into_iter().next())
        .is_some_and(|command| SAID.contains(&command.as_str()))
}

/// Whether a command takes packages away that nothing needs any more: after a removal, it has
/// something to do.
pub(super) fn is_autoremoval(words: &[String]) -> bool {
    arguments(words)
        .and_then(given)
        .is_some_and(|given| given.operands.first().is_some_and(|word| word == "autoremove"))
}

/// Whether a command removes packages.
pub(super) fn removes(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    let is_apt = |word: &&str| matches!(*word, "apt" | "apt-get" | "dpkg");
    let removes = |word: &&str| matches!(*word, "remove" | "purge" | "-r" | "-P" | "--remove" | "--purge");
    words.iter().position(is_apt).is_some_and(|at| words[at..].iter().any(removes))
}

fn arguments(words: &[String]) -> Option<&[String]> {
    let (program, arguments) = words.split_first()?;
    matches!(program.as_str(), "apt" | "apt-get").then_some(arguments)
}

/// The options and operands of apt-get(8); none where an option makes it another command, or is
/// not known.
fn given(arguments: &[String]) -> Option<Given> {
    let mut given = Given::default();
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        let (name, value) = word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
        match name {
            "--install-recommends" => given.recommends = Some(true),
            "--no-install-recommends" => given.recommends = Some(false),
            "-o" | "--option" => {
                let setting = value.map(str::to_owned).or_else(|| rest.next().cloned())?;
                given.set(word, &setting);
            }
            "-c" | "--config-file" => {
                let file = value.map(str::to_owned).or_else(|| rest.next().cloned())?;
                given.unsaid.push(format!("{name} {file}"));
            }
            "--allow-unauthenticated"
            | "--allow-insecure-repositories"
            | "--allow-downgrades"
            | "--force-yes"
            | "--install-suggests"
            | "--reinstall" => given.unsaid.push(word.clone()),
            _ if PASSING.contains(&name) => {}
            _ if name.starts_with("--") => return None,
            _ if word.starts_with("-o") => given.set(word, &word[2..]),
            _ if word.starts_with('-') => {
                // -y, -q (also -qq and -q=2), -f, -m, -V, -u
                let mut letters = name[1..].chars();
                letters.all(|letter| matches!(letter, 'y' | 'q' | 'f' | 'm' | 'V' | 'u')).then_some(())?;
            }
            _ => given.operands.push(word.clone()),
        }
    }
    Some(given)
}

impl Given {
    /// `-o SETTING`, as apt.conf(5) has them.
    fn set(&mut self, option: &str, setting: &str) {
        let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
        let name = name.to_ascii_lowercase();
        if name == "apt::install-recommends" {
            // apt's own words for false
            let is_false = ["0", "no", "false", "without", "off", "disable"];
            self.recommends = Some(!is_false.contains(&value.to_ascii_lowercase().as_str()));
        } else if !PASSING_SETTINGS.contains(&name.as_str()) {
            self.unsaid.push(if option.ends_with(setting) { option.to_owned() } else { format!("{option} {setting}") });
        }
    }
}

/// Takes a command for an apt layer; false if it has to be run after all.
pub(super) fn apt(translator: &mut Translator<'_>, instruction: &Instruction, words: &[String]) -> bool {
    let Some(Given { operands, recommends, unsaid }) = arguments(words).and_then(given) else { return false };
    let Some((command, packages)) = operands.split_first() else { return false };
    let place = &instruction.place;
    match command.as_str() {
        // A lock reads the archives when it is made, and no layer has lists or archives.
        "update" => translator.has_lists = true,
        "clean" | "autoclean" | "autoremove" => {}
        "upgrade" | "dist-upgrade" | "full-upgrade" => {
            translator.note(place, &words.join(" "), "a base is what its digest says: take a newer tag of it");
        }
        "install" => {
            let item = |package: &String| match Word::Package.accepts(package) {
                Ok(()) => Item::Said(package.clone()),
                Err(why) => Item::Note(Note::unsaid(place, package, &why)),
            };
            let items = packages.iter().map(item).collect();
            add_packages(&mut translator.draft, place, recommends.unwrap_or(true), items);
        }
        _ => return false,
    }
    let unsaid = unsaid.iter().map(|option| {
        let original = format!("apt-get {command} {option}");
        Note::unsaid(place, &original, "an apt layer has no options of apt")
    });
    match translator.draft.parts.last_mut() {
        Some(Part::Layer(Layer { notes, kind: Kind::Apt(_), .. })) if command == "install" => notes.extend(unsaid),
        _ => translator.draft.parts.extend(unsaid.map(Part::Note)),
    }
    true
}

/// Adds packages to the apt layer that stands last, or as a new one.
fn add_packages(draft: &mut Draft, place: &Place, recommends: bool, items: Vec<Item>) {
    if !items.iter().any(|item| matches!(item, Item::Said(_))) {
        let notes = items.into_iter().filter_map(|item| match item {
            Item::Said(_) => None,
            Item::Note(note) => Some(Part::Note(note)),
        });
        return draft.parts.extend(notes);
    }
    if let Some(Part::Layer(Layer { notes, kind: Kind::Apt(last), .. })) = draft.parts.last_mut()
        && last.recommends == recommends
    {
        let note = Note::from(place);
        notes.extend(Some(note).filter(|note| !notes.contains(note)));
        let new: Vec<Item> = items.into_iter().filter(|item| !last.packages.contains(item)).collect();
        return last.packages.extend(new);
    }
    draft.push(vec![Note::from(place)], Kind::Apt(Apt { packages: items, recommends, amends: false }));
}

#[cfg(test)]
mod tests {
    use super::{Given, given, is_autoremoval, is_known, removes};

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn read(text: &str) -> Option<Given> {
        given(&words(text))
    }

    #[test]
    fn options_are_read_as_the_manual_page_has_them() {
        let quiet = read("-qqy -q=2 --yes -o Acquire::Retries=3 -oDpkg::Use-Pty=0 install git").unwrap_or_default();
        assert_eq!((quiet.operands, quiet.recommends, quiet.unsaid), (words("install git"), None, Vec::new()));
        let unsaid = read("install -o Dpkg::Options::=--force-confold -c /a git -oAPT::Get::Only-Source=1");
        assert_eq!(
            unsaid.unwrap_or_default().unsaid,
            ["-o Dpkg::Options::=--force-confold", "-c /a", "-oAPT::Get::Only-Source=1"]
        );
        for (said, recommends) in [
            ("-o APT::Install-Recommends=false", false),
            ("--option=APT::Install-Recommends=0", false),
            ("-o apt::install-recommends=true", true),
            ("--no-install-recommends", false),
            ("--install-recommends", true),
        ] {
            assert_eq!(read(said).unwrap_or_default().recommends, Some(recommends), "{said}");
        }
    }

    #[test]
    fn what_is_another_command_is_left_to_be_run() {
        for run in
            ["install -t bookworm-backports git", "install -tx git", "--target-release=x install git", "-d install a"]
        {
            assert_eq!(read(run), None, "{run}");
            assert!(!is_known(&words(&format!("apt-get {run}"))), "{run}");
        }
        assert!(!is_known(&words("apt-get purge git")) && is_known(&words("apt-get install -y git")));
        assert!(removes("apt-get -y purge git") && !removes("apt-get install -y git"));
        assert!(is_autoremoval(&words("apt autoremove -y")));
    }
}
