//! Which minor versions of Python a specifier takes (PyPA "version specifiers").

use super::note::Place;

/// What a file requires of Python.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The file.
    pub(super) place: Place,
    /// Such as `>=3.10,<3.13`.
    pub(super) specifier: String,
}

impl Wanted {
    pub(super) fn new(place: Place, specifier: impl Into<String>) -> Self {
        Self { place, specifier: specifier.into() }
    }

    /// Whether some patch of Python 3.`minor` is taken.
    pub(super) fn takes(&self, minor: u8) -> bool {
        let mut clauses = self.specifier.split(',').map(str::trim).filter(|clause| !clause.is_empty());
        clauses.all(|clause| takes(clause, minor))
    }
}

/// A patch that no Python 3 has had: later than each that a specifier names.
const LATEST: u32 = 999;

fn takes(clause: &str, minor: u8) -> bool {
    let end = clause.find(|c: char| !matches!(c, '=' | '<' | '>' | '~' | '!')).unwrap_or(clause.len());
    let (operator, version) = clause.split_at(end);
    let version = version.trim();
    let wildcard = version.ends_with(".*");
    let numbers: Vec<u32> = version.trim_end_matches(".*").split('.').map_while(|part| part.parse().ok()).collect();
    let Some(&major) = numbers.first() else { return true };
    let wanted = (major, numbers.get(1).copied().unwrap_or(0), numbers.get(2).copied().unwrap_or(0));
    let (first, last) = ((3, u32::from(minor), 0), (3, u32::from(minor), LATEST));
    let same = (3, u32::from(minor)) == (wanted.0, wanted.1) || numbers.len() == 1 && major == 3;
    match operator {
        ">=" => last >= wanted,
        ">" => last > wanted && !(numbers.len() == 2 && same),
        "<=" => first <= wanted,
        "<" => first < wanted,
        "!=" => !(same && (wildcard || numbers.len() == 2)),
        // "~= 2.2.post3" is ">= 2.2.post3, == 2.*"
        "~=" if numbers.len() < 3 => last >= wanted && wanted.0 == 3,
        _ => same,
    }
}

/// The newest of `minors` that all of `wanted` take, or the first that one of them rules out.
pub(super) fn choose<'a>(wanted: &'a [Wanted], minors: &[u8]) -> Result<u8, Option<&'a Wanted>> {
    let fit = |minor: &&u8| wanted.iter().all(|wanted| wanted.takes(**minor));
    match minors.iter().find(fit) {
        Some(minor) => Ok(*minor),
        None => Err(wanted.iter().find(|wanted| !minors.iter().any(|minor| wanted.takes(*minor))).or(wanted.first())),
    }
}

#[cfg(test)]
mod tests {
    use super::{Wanted, choose};
    use crate::init::note::Place;

    fn minors(specifier: &str) -> Vec<u8> {
        let wanted = Wanted::new(Place::new("pyproject.toml", 1), specifier);
        (8..=14).filter(|minor| wanted.takes(*minor)).collect()
    }

    #[test]
    fn specifiers_take_the_minor_versions_that_pypa_says() {
        assert_eq!(minors(">=3.10"), [10, 11, 12, 13, 14]);
        assert_eq!(minors(">=3.10.2,<3.13"), [10, 11, 12]);
        assert_eq!(minors("==3.11.*"), [11]);
        assert_eq!(minors("==3.11.4"), [11]);
        assert_eq!(minors("~=3.12"), [12, 13, 14]);
        assert_eq!(minors("~=3.12.1"), [12]);
        assert_eq!(minors(">3.12, !=3.14.*"), [13]);
        assert_eq!(minors("<=3.9"), [8, 9]);
        assert_eq!(minors(">=3,<4").len(), 7);
        assert_eq!(minors("").len(), 7);
    }

    #[test]
    fn the_first_that_all_take_is_chosen() {
        let wanted = |specifier: &str| Wanted::new(Place::new("pyproject.toml", 1), specifier);
        assert_eq!(choose(&[wanted(">=3.9"), wanted("<3.12")], &[12, 10]), Ok(10));
        let odd = [wanted(">=3.9"), wanted("<3.8")];
        assert_eq!(choose(&odd, &[12, 10]), Err(Some(&odd[1])));
    }
}
