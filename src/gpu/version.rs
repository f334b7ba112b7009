//! Versions of drivers, of CUDA and of a GPU's instructions: numbers with dots.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A version: numbers with dots, as they are written (`535.104.05`). One that ends earlier goes
/// on with zeros.
#[derive(Clone, Debug)]
pub struct Version {
    numbers: Vec<u32>,
    text: String,
}

impl Version {
    /// The version of two numbers.
    pub fn new(major: u32, minor: u32) -> Self {
        Self { numbers: vec![major, minor], text: format!("{major}.{minor}") }
    }

    /// Its first number: of a driver, the branch.
    pub fn major(&self) -> u32 {
        self.number(0)
    }

    /// Its first number alone.
    pub fn branch(&self) -> Self {
        Self { numbers: vec![self.major()], text: self.major().to_string() }
    }

    /// Its first two numbers.
    pub fn short(&self) -> Self {
        Self::new(self.number(0), self.number(1))
    }

    fn number(&self, n: usize) -> u32 {
        self.numbers.get(n).copied().unwrap_or_default()
    }
}

impl FromStr for Version {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let number = |part: &str| part.parse().map_err(|_| ());
        Ok(Self { numbers: text.split('.').map(number).collect::<Result<_, _>>()?, text: text.to_owned() })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|()| serde::de::Error::custom(format!("`{text}` is no version")))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let longest = self.numbers.len().max(other.numbers.len());
        (0..longest)
            .map(|n| self.number(n).cmp(&other.number(n)))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_go_by_their_numbers() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        assert!(version("470.82.01") < version("471"));
        assert!(version("12.10") > version("12.9"));
        assert_eq!(version("12"), version("12.0.0"));
        assert_eq!(version("550.54.15").short().to_string(), "550.54");
        for wrong in ["", "12.", "a.1", "12 "] {
            assert!(wrong.parse::<Version>().is_err(), "{wrong}");
        }
    }
}
