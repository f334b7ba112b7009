//! `useradd` and `adduser` in a RUN: the accounts of a recipe.

use std::collections::BTreeMap;

use super::super::draft::{Account, Kind, Text};
use super::super::note::Note;
use super::run::quoted;
use super::syntax::Instruction;
use super::translate::Translator;
use super::words::{Variables, meaning, split};
use crate::recipe::Word;

/// The accounts and groups that a Dockerfile makes.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    /// Names with their gid.
    pub(super) groups: BTreeMap<String, u32>,
    /// Names with their uid and gid.
    users: BTreeMap<String, (u32, u32)>,
}

impl Accounts {
    /// Where they live, where nothing else was said.
    pub(super) fn homes(&self) -> impl Iterator<Item = String> {
        self.users.keys().map(|name| format!("/home/{name}"))
    }

    /// Adds what a shell's command makes, however it is put together, where it says the numbers.
    pub(super) fn told_by(&mut self, command: &str, variables: &dyn Variables) {
        for simple in command.replace("\\\n", " ").split(['\n', ';', '&', '|', '(', ')']) {
            let words: Option<Vec<String>> = split(simple).iter().map(|word| meaning(word, variables).ok()).collect();
            let Some(words) = words.filter(|words| !words.is_empty()) else { continue };
            if words[0] == "groupadd" {
                self.groups.extend(groupadd(&words[1..]));
            } else if let Some(Made { name, uid: Some(uid), group, .. }) = made(&words) {
                let own = self.groups.get(&name).copied().unwrap_or(uid);
                let gid =
                    group.map_or(Some(own), |group| self.groups.get(&group).copied().or_else(|| group.parse().ok()));
                self.users.extend(gid.map(|gid| (name, (uid, gid))));
            }
        }
    }

    /// The owner that `--chown` means, in numbers.
    pub(super) fn owner(&self, text: &str) -> Option<String> {
        let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
        let known = self.users.get(user).copied().or((user == "root").then_some((0, 0)));
        let uid = known.map(|(uid, _)| uid).or_else(|| user.parse().ok())?;
        let gid = match group {
            None => known.map_or(uid, |(_, gid)| gid),
            Some(group) => {
                let own = known.filter(|_| group == user).map(|(_, gid)| gid);
                let zero = (group == "root").then_some(0);
                own.or(zero).or_else(|| self.groups.get(group).copied()).or_else(|| group.parse().ok())?
            }
        };
        let owner = format!("{uid}:{gid}");
        Word::Owner.accepts(&owner).is_ok().then_some(owner)
    }
}

/// Whether a shell's command makes the account `user`, however it is put together.
pub(crate) fn makes(command: &str, user: &str) -> bool {
    command.split(['\n', ';', '&', '|', '(', ')']).any(|simple| {
        let mut words = simple.split_whitespace().map(|word| word.trim_matches(['"', '\'']));
        words.any(|word| matches!(word.rsplit('/').next(), Some("useradd" | "adduser")))
            && words.any(|word| word == user)
    })
}

/// Whether a command makes an account in a way that a recipe has words for; a group, which
/// is added to `groups`, only where the command after it makes the account of that name.
pub(super) fn is_known(words: &[String], next: &[String], groups: &mut BTreeMap<String, u32>) -> bool {
    if words[0] != "groupadd" {
        return made(words).is_some_and(|made| made.gid(groups).is_ok());
    }
    let Some((name, gid)) = groupadd(&words[1..]) else { return false };
    let mut with = groups.clone();
    with.insert(name.clone(), gid);
    let is_known = made(next).is_some_and(|made| made.name == name && made.gid(&with) == Ok(Some(gid)));
    if is_known {
        *groups = with;
    }
    is_known
}

/// The account that a command makes, if it does nothing else.
fn made(words: &[String]) -> Option<Made> {
    match words.first()?.as_str() {
        "useradd" => useradd(&words[1..]),
        "adduser" => adduser(&words[1..]),
        _ => None,
    }
}

/// Adds the account or group that a command makes; false if it has to be made by a command.
pub(super) fn add(translator: &mut Translator<'_>, instruction: &Instruction, words: &[String]) -> bool {
    if words[0] == "groupadd" {
        let group = groupadd(&words[1..]);
        let is_group = group.is_some();
        translator.accounts.groups.extend(group);
        return is_group;
    }
    let Some(made) = made(words) else { return false };
    let Ok(gid) = made.gid(&translator.accounts.groups) else { return false };
    let Made { name, uid, home, shell, groups, comment, .. } = made;
    // useradd(8): "the smallest ID value greater than or equal to 1000 and greater than every other user"
    let last = translator.accounts.users.values().map(|(uid, _)| *uid).max();
    let uid = uid.or_else(|| last.map(|last| last.max(999) + 1));
    let ids = (uid.unwrap_or(1000), gid.or(uid).unwrap_or(1000));
    translator.accounts.users.insert(name.clone(), ids);
    let group = gid.map(|gid| format!("groupadd -g {gid} {name} &&\n")).unwrap_or_default();
    let account = Account {
        user: Some(Text::plain(name)),
        uid: uid.map(|uid| Text::plain(uid.to_string())),
        gid: gid.filter(|gid| Some(*gid) != uid),
        home,
        // useradd(8): the default shell is that of /etc/default/useradd, on Debian /bin/sh
        shell: shell.or(Some("/bin/sh".into())).filter(|shell| shell != "/bin/bash"),
        groups,
        venv: None,
        command: format!("{group}{}", words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")),
    };
    let mut notes = vec![Note::from(&instruction.place)];
    let why = "an account has no comment of its own";
    notes.extend(
        comment.map(|comment| Note::unsaid(&instruction.place, &format!("useradd -c {}", quoted(&comment)), why)),
    );
    translator.draft.push(notes, Kind::Account(account));
    true
}

#[derive(Default)]
struct Made {
    name: String,
    uid: Option<u32>,
    group: Option<String>,
    home: Option<String>,
    shell: Option<String>,
    groups: Vec<String>,
    /// The field of passwd(5) for a full name.
    comment: Option<String>,
}

/// useradd(8).
fn useradd(words: &[String]) -> Option<Made> {
    let mut made = Made::default();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        if name.starts_with("--") {
            let letter = match name {
                "--create-home" | "--no-log-init" | "--user-group" | "--non-unique" => continue,
                "--uid" => 'u',
                "--gid" => 'g',
                "--shell" => 's',
                "--home-dir" | "--home" => 'd',
                "--groups" => 'G',
                "--comment" => 'c',
                _ => return None,
            };
            made.set(letter, value.or_else(|| rest.next().cloned())?)?;
        } else if let Some(letters) = name.strip_prefix('-') {
            let mut letters = letters.chars();
            while let Some(letter) = letters.next() {
                match letter {
                    'm' | 'l' | 'U' | 'o' => {}
                    'u' | 'g' | 's' | 'd' | 'G' | 'c' => {
                        let attached = letters.as_str().to_owned();
                        letters = "".chars();
                        made.set(letter, if attached.is_empty() { rest.next().cloned()? } else { attached })?;
                    }
                    _ => return None,
                }
            }
        } else if made.name.is_empty() {
            made.name = word.clone();
        } else {
            return None;
        }
    }
    made.checked()
}

/// adduser(8), Debian's.
fn adduser(words: &[String]) -> Option<Made> {
    let mut made = Made { shell: Some("/bin/bash".into()), ..Made::default() };
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let (name, value) = word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
        let mut next = || value.map(str::to_owned).or_else(|| rest.next().cloned());
        match name {
            "--disabled-password" | "--disabled-login" | "--quiet" | "-q" => {}
            "--gecos" | "--comment" => made.set('c', next()?)?,
            "--uid" | "-u" => made.set('u', next()?)?,
            "--gid" => made.set('g', next()?)?,
            "--home" => made.set('d', next()?)?,
            "--shell" => made.set('s', next()?)?,
            option if option.starts_with('-') => return None,
            name if made.name.is_empty() => made.name = name.to_owned(),
            _ => return None,
        }
    }
    made.checked()
}

/// groupadd(8), with a gid.
fn groupadd(words: &[String]) -> Option<(String, u32)> {
    let mut gid = None;
    let mut name = None;
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "-g" | "--gid" => gid = rest.next()?.parse().ok(),
            "-o" | "--non-unique" | "-f" | "--force" => {}
            option if option.starts_with('-') => return None,
            word if name.is_none() => name = Some(word.to_owned()),
            _ => return None,
        }
    }
    Some((name?, gid?))
}

impl Made {
    fn set(&mut self, letter: char, value: String) -> Option<()> {
        match letter {
            'u' => self.uid = Some(value.parse().ok()?),
            'g' => self.group = Some(value),
            's' => self.shell = Some(value),
            'd' => self.home = Some(value),
            'G' => self.groups = value.split(',').map(str::to_owned).collect(),
            'c' => self.comment = Some(value).filter(|comment| !comment.is_empty()),
            _ => {}
        }
        Some(())
    }

    /// The gid of its group, if that is not the uid. The error is a group of another name,
    /// which an account of a recipe can't have for its own.
    fn gid(&self, groups: &BTreeMap<String, u32>) -> Result<Option<u32>, &str> {
        let own = groups.get(&self.name).copied();
        match &self.group {
            None => Ok(own),
            Some(group) => match own.filter(|gid| *group == self.name || group.parse() == Ok(*gid)) {
                Some(gid) => Ok(Some(gid)),
                None => Err(group),
            },
        }
    }

    /// What a recipe takes.
    fn checked(self) -> Option<Self> {
        let paths = self.home.iter().chain(&self.shell).all(|path| Word::ImagePath.accepts(path).is_ok());
        let names = self.groups.iter().chain([&self.name]).all(|name| Word::Login.accepts(name).is_ok());
        let home = Some(format!("/home/{}", self.name));
        (paths && names).then(|| Self { home: self.home.clone().filter(|_| self.home != home), ..self })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{adduser, is_known, makes, useradd};

    #[test]
    fn a_group_is_taken_only_with_the_account_of_its_name() {
        let known = |group: &str, user: &str| is_known(&words(group), &words(user), &mut BTreeMap::new());
        assert!(known("groupadd -g 5000 dev", "useradd -m dev") && known("groupadd -g 5000 dev", "useradd -g dev dev"));
        assert!(known("groupadd -g 5000 dev", "useradd -g 5000 dev"));
        assert!(!known("groupadd -g 999 render", "useradd -m dev") && !known("groupadd dev", "useradd -g dev dev"));
        let mut team = BTreeMap::from([("team".to_owned(), 5000)]);
        for user in ["useradd -g team dev", "useradd -g 5000 dev", "useradd -g users dev"] {
            assert!(!is_known(&words(user), &[], &mut team), "{user}");
        }
    }

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_command_that_makes_an_account_is_known_by_its_name() {
        assert!(makes("set -e; getent passwd dev || /usr/sbin/useradd -m -G sudo 'dev'", "dev"));
        assert!(!makes("useradd -m developer && chown dev /srv", "dev") && !makes("echo dev", "dev"));
    }

    #[test]
    fn accounts_are_read_as_the_manual_pages_have_them() {
        let made = useradd(&words("-ms /bin/bash -u 1001 -G video,render alice")).unwrap_or_default();
        assert_eq!((made.name.as_str(), made.uid, made.shell.as_deref()), ("alice", Some(1001), Some("/bin/bash")));
        assert_eq!(made.groups, ["video", "render"]);
        let made = adduser(&words("--disabled-password --gecos x --uid=1002 bob")).unwrap_or_default();
        assert_eq!((made.name.as_str(), made.uid), ("bob", Some(1002)));
        for odd in ["-r daemon", "--system daemon", "-M x", "a b", "-u x y"] {
            assert!(useradd(&words(odd)).is_none(), "{odd}");
        }
    }
}
