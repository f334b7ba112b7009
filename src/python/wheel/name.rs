//! The file name of a wheel.

use std::fmt;

use super::Problem;

/// `{distribution}-{version}(-{build tag})?-{python tag}-{abi tag}-{platform tag}.whl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileName {
    file: String,
    /// The distribution, normalised.
    pub name: String,
    /// The version as the name has it.
    pub version: String,
}

impl FileName {
    /// Reads a file name.
    ///
    /// # Errors
    /// [`Problem::FileName`] if it is not of that form.
    pub fn parse(file: &str) -> Result<Self, Problem> {
        let invalid = || Problem::FileName { file: file.to_owned() };
        let parts: Vec<&str> = file.strip_suffix(".whl").ok_or_else(invalid)?.split('-').collect();
        let plain = |part: &&str| {
            !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '+' | '!'))
        };
        match parts.as_slice() {
            [name, version, _, _, _] | [name, version, _, _, _, _] if parts.iter().all(plain) => {
                Ok(Self { file: file.to_owned(), name: normalize(name), version: (*version).to_owned() })
            }
            _ => Err(invalid()),
        }
    }

    /// Whether `stem` (`{distribution}-{version}` of a directory in the wheel) says
    /// the same. Old tools escaped more characters of the version than the
    /// specification now has them do, so runs of separators are equal.
    pub(super) fn is(&self, stem: &str) -> bool {
        stem.rsplit_once('-')
            .is_some_and(|(name, version)| normalize(name) == self.name && same_version(version, &self.version))
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)
    }
}

/// A project's name, normalised.
pub fn normalize(name: &str) -> String {
    // PyPA, "Names and normalization": "The name should be lowercased with all runs
    // of the characters ., -, or _ replaced with a single - character."
    runs(name, &['.', '-', '_'])
}

fn same_version(one: &str, other: &str) -> bool {
    let separators = ['.', '-', '_', '+', '!'];
    runs(one, &separators) == runs(other, &separators)
}

fn runs(text: &str, separators: &[char]) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if !separators.contains(&c) {
            out.extend(c.to_lowercase());
        } else if !out.ends_with('-') {
            out.push('-');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_says_distribution_and_version() {
        let name = FileName::parse("ruamel.yaml-0.18.6-1-py3-none-any.whl").unwrap();
        assert_eq!((name.name.as_str(), name.version.as_str()), ("ruamel-yaml", "0.18.6"));
        assert!(name.is("ruamel_yaml-0.18.6"));
        assert!(!name.is("ruamel_yaml-0.18.7"));
        assert!(FileName::parse("torch-2.6.0+cu124-cp311-cp311-linux_x86_64.whl").unwrap().is("torch-2.6.0_cu124"));
        for wrong in ["numpy.whl", "numpy-1-py3-none.whl", "a-1-py3-none-any.zip", "../a-1-py3-none-any.whl"] {
            assert!(FileName::parse(wrong).is_err(), "{wrong}");
        }
    }
}
