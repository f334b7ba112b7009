//! The local time zone: `/etc/localtime` and `/etc/timezone`, as Debian's tzdata
//! leaves them. The zones themselves are tzdata's, which is the base's.

use thiserror::Error;

use super::{Changeset, Inputs};
use crate::layer::{Attributes, LayerWriter};
use crate::recipe;
use crate::sandbox::Rootfs;

/// Why a time zone can't be set.
#[derive(Debug, Error)]
pub enum Error {
    /// Not of the form that tzdata names zones by.
    #[error("`{zone}` is not the name of a time zone")]
    Zone {
        /// What the recipe says.
        zone: String,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Zone { .. } => Some("zones are named as under /usr/share/zoneinfo: `Asia/Seoul`, `Etc/UTC`".into()),
        }
    }
}

/// Writes `/etc/localtime` and `/etc/timezone`.
#[derive(Debug)]
pub struct Timezone {
    zone: String,
}

/// The changeset of a `timezone` layer.
///
/// # Errors
/// [`Error::Zone`].
pub fn changeset(recipe: &recipe::Timezone) -> Result<Timezone, Error> {
    // tzdata's theory.html: names of "ASCII letters, '.', '-' and '_'"; Etc/GMT+1 has a plus and digits.
    let plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-+".contains(&byte))
    };
    if recipe.zone.split('/').all(plain) {
        Ok(Timezone { zone: recipe.zone.clone() })
    } else {
        Err(Error::Zone { zone: recipe.zone.clone() })
    }
}

impl Changeset for Timezone {
    fn inputs(&self) -> Inputs {
        Inputs::new("timezone", 1, format!("dlpack timezone {}", self.zone)).with("zone", self.zone.as_str())
    }

    fn write(&self, _under: &Rootfs, out: &mut LayerWriter) -> Result<(), super::Error> {
        out.symlink("etc/localtime", Attributes::root(0o777), &format!("/usr/share/zoneinfo/{}", self.zone))?;
        out.file("etc/timezone", Attributes::root(0o644), format!("{}\n", self.zone).as_bytes())?;
        Ok(())
    }
}
