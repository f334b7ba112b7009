//! What a push will send: of the layers that the target has not, and of the base's, those that
//! can't be mounted.

use futures_util::{StreamExt, TryStreamExt, stream};

use super::why::Before;
use super::{Plan, Step};
use crate::oci::{Descriptor, media_type};
use crate::registry::{self, Repository};

/// A number of bytes that is known or guessed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// How many.
    pub bytes: u64,
    /// Whether it is that many; else a layer is still to be built, and this is what it is made of.
    pub exact: bool,
}

impl Step {
    /// The size of its blob, or that of what it is made of.
    pub fn size(&self) -> Size {
        match self.place.record() {
            Some(record) => Size { bytes: record.size(), exact: true },
            None if self.needs.is_empty() => {
                let bytes = self.inputs.contents().iter().map(|content| content.bytes).sum();
                Size { bytes, exact: false }
            }
            None => Size { bytes: self.needed_bytes(), exact: false },
        }
    }
}

impl Plan {
    /// How much of the plan's layers a push to `target` sends: of those that are not `present`
    /// there those that can't be mounted.
    pub fn sending(&self, present: &[bool], target: Option<&Repository>) -> Size {
        let mounted = |step: &Step| target.is_some_and(|target| step.place.can_be_mounted_in(target));
        let absent = self.steps.iter().zip(present).filter(|(step, present)| !**present && !mounted(step));
        absent.fold(Size { bytes: 0, exact: true }, |sum, (step, _)| {
            let size = step.size();
            Size { bytes: sum.bytes + size.bytes, exact: sum.exact && size.exact }
        })
    }
}

/// How many bytes of the base's `layers`, which lie in `from`, go to `target`: none of what the
/// image there has, of what can be mounted, of what is there, or of what lies at URLs of its own.
///
/// # Errors
/// Those of asking the target.
pub async fn of_base(
    layers: &[Descriptor],
    from: Option<&Repository>,
    target: &Repository,
    before: Option<&Before>,
) -> Result<u64, registry::Error> {
    if from.is_some_and(|from| from.place().host == target.place().host) {
        return Ok(0);
    }
    let elsewhere = |layer: &Descriptor| media_type::is_foreign(&layer.media_type) && !layer.urls.is_empty();
    let unknown = layers.iter().enumerate().filter(|(at, layer)| {
        let repeated = layers[..*at].iter().any(|other| other.digest == layer.digest);
        !repeated && !elsewhere(layer) && !before.is_some_and(|before| before.has(&layer.digest))
    });
    stream::iter(unknown)
        .map(async |(_, layer)| Ok(if target.has_blob(layer).await? { 0 } else { layer.size }))
        .buffer_unordered(4)
        .try_fold(0, async |sum, bytes| Ok(sum + bytes))
        .await
}
