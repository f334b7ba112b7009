//! What sandboxes did without that steps can tell: a part of the key of what they made.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::json;

use super::Fallback;
use crate::oci::Digest;
use crate::store::LayerKey;

/// What sandboxes did without that steps can tell; nothing for one that is whole.
///
/// A layer's key stands for what a whole sandbox makes of its inputs. What another one made of
/// them has a key of its own, by which machines find it that lack the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lacks(BTreeSet<Fallback>);

impl Lacks {
    /// Those of `fallbacks` that steps can tell.
    pub fn of(fallbacks: impl IntoIterator<Item = Fallback>) -> Self {
        Self(fallbacks.into_iter().filter(|fallback| fallback.changes_layers()).collect())
    }

    /// Whether the sandbox was whole.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was done without.
    pub fn iter(&self) -> impl Iterator<Item = Fallback> {
        self.0.iter().copied()
    }

    /// The key of what was made so, in place of the key `whole`: the same if nothing lacked.
    pub fn key(&self, whole: LayerKey) -> LayerKey {
        if self.is_empty() {
            return whole;
        }
        LayerKey(Digest::of(json!({ "key": whole, "lacks": self.0 }).to_string().as_bytes()))
    }

    /// What single steps may have done without on a machine that lacks this, the least first: a
    /// step on the network, for one, misses no network of its own.
    pub fn parts(&self) -> Vec<Self> {
        let add = |mut parts: Vec<Self>, fallback: &Fallback| {
            let with: Vec<_> =
                parts.iter().map(|part| Self(part.0.iter().chain([fallback]).copied().collect())).collect();
            parts.extend(with);
            parts
        };
        let mut parts = self.0.iter().fold(vec![Self::default()], add);
        parts.sort_by_key(|part| part.0.len());
        parts.split_off(1)
    }
}

impl fmt::Display for Lacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lacking = self.0.iter().filter_map(|fallback| fallback.lacking());
        f.write_str(&lacking.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_part_of_the_key_and_what_layers_do_not_show_is_not() {
        let whole = LayerKey(Digest::of(b"inputs"));
        let key = |fallbacks: &[Fallback]| Lacks::of(fallbacks.iter().copied()).key(whole);
        assert_eq!(key(&[]), whole);
        assert_eq!(key(&[Fallback::Copy, Fallback::Chroot, Fallback::HostProc]), whole);
        let keys = [
            key(&[Fallback::HostNetwork]),
            key(&[Fallback::RecordedOwners]),
            key(&[Fallback::FakedOwners]),
            key(&[Fallback::HostNetwork, Fallback::FakedOwners]),
            whole,
        ];
        assert_eq!(BTreeSet::from(keys).len(), 5);
    }

    #[test]
    fn a_step_lacks_some_of_what_its_machine_lacks_the_least_first() {
        let machine = Lacks::of([Fallback::HostNetwork, Fallback::FakedOwners]);
        let parts = machine.parts().into_iter().map(|part| part.iter().collect::<Vec<_>>());
        let expected: [&[Fallback]; 3] =
            [&[Fallback::HostNetwork], &[Fallback::FakedOwners], &[Fallback::HostNetwork, Fallback::FakedOwners]];
        assert_eq!(parts.collect::<Vec<_>>(), expected);
        assert_eq!(Lacks::default().parts(), []);
    }
}
