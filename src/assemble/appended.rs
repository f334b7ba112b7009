//! A layer that a build has come to, whether it was known or made.

use crate::plan::{Place, Step};
use crate::sandbox::Lacks;
use crate::store::{LayerKey, LayerRecord};

/// A layer of a finished build, over the base.
pub struct Appended {
    /// What is in it, in a few words.
    pub title: String,
    /// What the image's history says of it.
    pub history: String,
    /// The key that it is known under.
    pub key: Option<LayerKey>,
    /// What the sandbox did without in which it was made.
    pub lacks: Lacks,
    /// Where its blob is.
    pub place: Place,
    /// What is known of it.
    pub record: LayerRecord,
}

impl Appended {
    /// The layer of `step`, whose key would be `key` if it lacked nothing.
    pub(super) fn new(step: &Step, key: Option<LayerKey>, lacks: Lacks, place: Place, record: LayerRecord) -> Self {
        let key = key.map(|key| lacks.key(key));
        Self { title: step.title(), history: step.inputs.summary().to_owned(), key, lacks, place, record }
    }

    /// A layer that the plan knows.
    pub(super) fn found(step: &Step, record: LayerRecord) -> Self {
        Self::new(step, step.key, step.lacks.clone(), step.place.clone(), record)
    }

    /// A layer that went to the target while it was made.
    pub(super) fn sent(step: &Step, record: LayerRecord) -> Self {
        Self::new(step, step.key, Lacks::default(), Place::Target(record.clone()), record)
    }
}
