//! Which driver and which cards run which CUDA and cuDNN: `compatibility.toml`.

use std::sync::LazyLock;

use serde::Deserialize;

use super::Version;

/// The table.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compatibility {
    cuda: Vec<Cuda>,
    cudnn: Vec<Cudnn>,
}

/// What one CUDA toolkit needs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cuda {
    version: Version,
    /// The oldest driver that runs it.
    pub driver: Version,
    /// The driver that it came with.
    pub own: Version,
    /// The lowest and the highest compute capability that it has machine code for.
    pub cards: (Version, Version),
}

/// What one cuDNN needs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cudnn {
    version: Version,
    /// The lowest and the highest compute capability that it has machine code for.
    pub cards: (Version, Version),
}

/// How a card stands to what was compiled for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// There is machine code for it.
    Runs,
    /// It is older than all that there is code for.
    TooOld,
    /// It is of a later generation: only what brings PTX runs, compiled anew when it starts.
    TooNew,
}

impl Compatibility {
    /// The table that dlpack comes with.
    pub fn shipped() -> &'static Self {
        // a test holds that it can be read
        static SHIPPED: LazyLock<Compatibility> =
            LazyLock::new(|| toml::from_str(include_str!("compatibility.toml")).unwrap_or_default());
        &SHIPPED
    }

    /// The newest CUDA that `driver` runs, which is what its branch came with; none for a branch
    /// that is newer than the table.
    pub fn brought_by(&self, driver: &Version) -> Option<Version> {
        self.cuda.last().filter(|newest| driver.major() <= newest.own.major())?;
        let brought = self.cuda.iter().rev().find(|line| line.own.major() <= driver.major());
        Some(brought.map_or(Version::new(0, 0), |line| line.version.clone()))
    }

    /// The branches of the driver that came with a CUDA, oldest first.
    pub fn branches(&self) -> impl Iterator<Item = Version> {
        self.cuda.iter().map(|line| line.own.branch())
    }

    /// What CUDA `version` needs: its own line, or the last before it of the same major version.
    pub fn cuda(&self, version: &Version) -> Option<&Cuda> {
        last(self.cuda.iter().map(|line| (&line.version, line)), version)
    }

    /// What cuDNN `version` needs: the same.
    pub fn cudnn(&self, version: &Version) -> Option<&Cudnn> {
        last(self.cudnn.iter().map(|line| (&line.version, line)), version)
    }
}

fn last<'a, T>(lines: impl Iterator<Item = (&'a Version, &'a T)>, version: &Version) -> Option<&'a T> {
    let upto = lines.filter(|(line, _)| line.major() == version.major() && **line <= version.short());
    upto.max_by_key(|(line, _)| *line).map(|(_, line)| line)
}

/// How a card of `capability` stands to code for `cards`.
pub fn fit(capability: &Version, (lowest, highest): &(Version, Version)) -> Fit {
    // CUDA C++ Programming Guide, Binary Compatibility: code for X.y runs on X.z where z ≥ y
    if capability < lowest {
        Fit::TooOld
    } else if capability.major() > highest.major() {
        Fit::TooNew
    } else {
        Fit::Runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn a_version_that_has_no_line_is_as_the_last_before_it() {
        let table = Compatibility::shipped();
        let driver = |cuda: &str| table.cuda(&version(cuda)).map(|line| line.driver.to_string());
        assert_eq!(driver("12.4.1").as_deref(), Some("525.60.13"));
        assert_eq!(driver("12.7").as_deref(), Some("525.60.13"));
        assert_eq!(driver("11.8.0.065").as_deref(), Some("450.80.02"));
        assert_eq!(driver("13.4").as_deref(), Some("580.65.06"));
        assert_eq!(driver("14.0"), None);
    }

    #[test]
    fn a_driver_brings_the_cuda_of_its_branch() {
        let table = Compatibility::shipped();
        let brings = |driver: &str| table.brought_by(&version(driver)).map(|cuda| cuda.to_string());
        let cases =
            [("340.1", "0.0"), ("470.82.01", "11.4"), ("552.1", "12.4"), ("565.57.01", "12.7"), ("590.48.01", "13.1")];
        for (driver, cuda) in cases {
            assert_eq!(brings(driver).as_deref(), Some(cuda), "{driver}");
        }
        assert_eq!(brings("900.1"), None, "nobody knows it yet");
        assert!(table.branches().is_sorted() && table.branches().any(|branch| branch == version("550")));
    }

    #[test]
    fn each_line_is_in_order_and_makes_sense() {
        let table: Compatibility = toml::from_str(include_str!("compatibility.toml")).unwrap();
        assert!(table.cuda.is_sorted_by(|a, b| a.version < b.version && a.own <= b.own && a.driver <= b.driver));
        assert!(table.cuda.iter().all(|line| line.driver <= line.own && line.cards.0 < line.cards.1));
        assert!(table.cudnn.is_sorted_by(|a, b| a.version < b.version && a.cards.1 <= b.cards.1));
    }

    #[test]
    fn a_card_runs_what_has_code_for_its_generation() {
        let table = Compatibility::shipped();
        let on = |card: &str, cuda: &str| fit(&version(card), &table.cuda(&version(cuda)).unwrap().cards);
        assert_eq!(on("9.0", "12.4"), Fit::Runs);
        assert_eq!(on("8.9", "11.1"), Fit::Runs);
        assert_eq!(on("7.0", "13.0"), Fit::TooOld);
        assert_eq!(on("9.0", "11.7"), Fit::TooNew);
        assert_eq!(on("12.0", "12.4"), Fit::TooNew);
        assert_eq!(on("12.0", "12.8"), Fit::Runs);
    }
}
