//! Containers' names: those that a person gives, and those that are made up.

use std::fmt;
use std::str::FromStr;

/// The longest that one may be, in bytes: with what is put to it, it is still a file's name.
const LONGEST: usize = 128;

const HOW: [&str; 24] = [
    "amber", "bold", "brisk", "calm", "clear", "deep", "eager", "fair", "fleet", "fresh", "glad", "keen", "kind",
    "light", "merry", "mild", "neat", "plain", "proud", "quick", "quiet", "ready", "still", "warm",
];

const WHO: [&str; 24] = [
    "badger", "beaver", "bison", "crane", "dolphin", "egret", "falcon", "finch", "fox", "gecko", "heron", "ibis",
    "lark", "lynx", "marten", "newt", "orca", "osprey", "otter", "plover", "raven", "seal", "tern", "wren",
];

/// A container's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// One that a person can say and type.
    pub(super) fn made_up() -> Self {
        Self(format!("{}-{}", HOW[fastrand::usize(..HOW.len())], WHO[fastrand::usize(..WHO.len())]))
    }

    /// One of more than there are words for.
    pub(super) fn made_up_with_digits() -> Self {
        Self(format!("{}-{:06}", Self::made_up(), fastrand::u32(..1_000_000)))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = String;

    /// docker-run(1), `--name`: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`.
    fn from_str(text: &str) -> Result<Self, String> {
        let known = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) || !text.chars().all(known) || text.len() > LONGEST {
            return Err("a name has letters, digits, `_`, `.` and `-`, and begins with a letter or digit".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_files_name_and_no_option() {
        for right in ["a", "train_2.1", "8-gpus", Name::made_up().as_str(), Name::made_up_with_digits().as_str()] {
            assert_eq!(right.parse::<Name>().map(|name| name.to_string()).as_deref(), Ok(right));
        }
        for wrong in ["", ".", "..", "-a", "a/b", "a b", "ä", &"a".repeat(129)] {
            assert!(wrong.parse::<Name>().is_err(), "{wrong}");
        }
    }
}
