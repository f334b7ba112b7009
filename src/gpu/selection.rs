//! Which GPUs a container has: what a person says with `--gpus`, and an image with
//! `NVIDIA_VISIBLE_DEVICES`.

use std::collections::BTreeMap;
use std::str::FromStr;

/// The variable by which images say which GPUs they are for.
pub(super) const VISIBLE_DEVICES: &str = "NVIDIA_VISIBLE_DEVICES";

/// Which GPUs a container has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// None.
    Nothing,
    /// All of this machine's.
    All,
    /// Those of these names: an index, a UUID or the beginning of one, a CDI device.
    Named(Vec<String>),
}

impl Selection {
    /// What the variables of an image say; nothing if they say nothing.
    pub(super) fn of_image(env: &BTreeMap<String, String>) -> Self {
        match env.get(VISIBLE_DEVICES) {
            // "void or empty or unset: the same behavior as runc"
            Some(value) => value.parse().unwrap_or(Self::Nothing),
            // container toolkit: an image with CUDA_VERSION alone is older than the variables
            None if env.contains_key("CUDA_VERSION") && !env.contains_key("NVIDIA_REQUIRE_CUDA") => Self::All,
            None => Self::Nothing,
        }
    }
}

impl FromStr for Selection {
    type Err = String;

    /// `all`, `none`, or names with commas between them; docker's `device=0,2` as well.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim_matches('"');
        let names = text.strip_prefix("device=").unwrap_or(text);
        let names: Vec<&str> = names.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        match names[..] {
            // a variable of a scheduler's that is not set: who asks for GPUs is not to run without
            [] => Err("it names no GPU: write `none` if that is meant".to_owned()),
            _ if names.contains(&"all") => Ok(Self::All),
            _ if names.iter().any(|name| matches!(*name, "none" | "void")) => Ok(Self::Nothing),
            _ if names.iter().any(|name| name.contains(char::is_whitespace)) => {
                Err("write all, none, or indexes and UUIDs with commas between them".to_owned())
            }
            _ => Ok(Self::Named(names.into_iter().map(str::to_owned).collect())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_all_none_or_named() {
        let of = |text: &str| text.parse::<Selection>().unwrap();
        let named = |names: &[&str]| Selection::Named(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!((of("all"), of("none"), of("void")), (Selection::All, Selection::Nothing, Selection::Nothing));
        assert_eq!(of("0,2"), named(&["0", "2"]));
        assert_eq!(of("\"device=GPU-1, 2\""), named(&["GPU-1", "2"]));
        assert_eq!(of("nvidia.com/gpu=0:1"), named(&["nvidia.com/gpu=0:1"]));
        for refused in ["0 1", "", "device=", ","] {
            assert!(refused.parse::<Selection>().is_err(), "{refused:?}");
        }
    }

    #[test]
    fn an_image_says_in_its_variables_which_gpus_it_is_for() {
        let of = |lines: &[(&str, &str)]| {
            Selection::of_image(&lines.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
        };
        assert_eq!(of(&[]), Selection::Nothing);
        assert_eq!(of(&[(VISIBLE_DEVICES, "all")]), Selection::All);
        assert_eq!(of(&[(VISIBLE_DEVICES, "")]), Selection::Nothing);
        assert_eq!(of(&[("CUDA_VERSION", "9.0.176")]), Selection::All);
        assert_eq!(of(&[("CUDA_VERSION", "9.0.176"), (VISIBLE_DEVICES, "void")]), Selection::Nothing);
        assert_eq!(of(&[("CUDA_VERSION", "12.4"), ("NVIDIA_REQUIRE_CUDA", "cuda>=12.4")]), Selection::Nothing);
    }
}
