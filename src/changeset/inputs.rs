//! What a layer is a function of, in a canonical form.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::told::{self, Part, Told};
use crate::layer::FORMAT;
use crate::oci::{ChainId, Digest};
use crate::store::LayerKey;

/// The inputs of a changeset. Its key is the digest of their canonical form: JSON
/// with sorted names.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inputs {
    kind: &'static str,
    version: u32,
    format: u32,
    fields: BTreeMap<&'static str, Value>,
    #[serde(skip)]
    rootfs: bool,
    #[serde(skip)]
    seen: bool,
    #[serde(skip)]
    sees: Vec<String>,
    #[serde(skip)]
    for_everybody: bool,
    #[serde(skip)]
    secrets: Vec<String>,
    #[serde(skip)]
    summary: String,
    #[serde(skip)]
    contents: Vec<Content>,
    #[serde(skip)]
    told: BTreeMap<&'static str, Value>,
    #[serde(skip)]
    parts: BTreeMap<String, BTreeMap<String, Part>>,
}

/// Something a person knows by name in a layer: a wheel, a package, a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// `numpy 2.2.1`.
    pub name: String,
    /// How many bytes of input it is.
    pub bytes: u64,
}

impl Inputs {
    /// Inputs of a changeset of `kind`, written by `version` of its code. `summary`
    /// is what the image's history says; it has no part in the key.
    pub fn new(kind: &'static str, version: u32, summary: impl Into<String>) -> Self {
        Self {
            kind,
            version,
            format: FORMAT,
            fields: BTreeMap::new(),
            rootfs: false,
            seen: false,
            sees: Vec::new(),
            for_everybody: false,
            secrets: Vec::new(),
            summary: summary.into(),
            contents: Vec::new(),
            told: BTreeMap::new(),
            parts: BTreeMap::new(),
        }
    }

    /// Adds a field. `value` is anything that JSON can say.
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.fields.insert(name, value.into());
        self
    }

    /// Says that the changeset sees the root filesystem under it, and that those after
    /// it see what it writes.
    pub fn on_rootfs(self) -> Self {
        Self { rootfs: true, seen: true, ..self }
    }

    /// Says that those after it on the root filesystem don't see what it writes, as they
    /// don't see wheels: it may change without their being made again.
    pub fn unseen(self) -> Self {
        Self { seen: false, ..self }
    }

    /// Says that those after it on the root filesystem see what it writes, though it
    /// needs none itself: an interpreter that they run.
    pub fn seen(self) -> Self {
        Self { seen: true, ..self }
    }

    /// Says that it sees the root filesystem under it and on it these layers of the
    /// recipe, which come before it. Those after it don't see what it writes if there
    /// are any: a new wheel must not make them again.
    pub fn seeing(self, layers: impl IntoIterator<Item = String>) -> Self {
        let sees: Vec<String> = layers.into_iter().collect();
        Self { rootfs: true, seen: sees.is_empty(), sees, ..self }
    }

    /// Says that the layer is the same for everybody: that of a distribution, or of what
    /// goes with it, and nothing of whoever wrote the recipe. Other recipes will want it.
    pub fn for_everybody(self) -> Self {
        Self { for_everybody: true, ..self }
    }

    /// Names the secrets that it can't be written without; no part of the key.
    pub fn with_secrets(self, names: impl IntoIterator<Item = String>) -> Self {
        Self { secrets: names.into_iter().collect(), ..self }
    }

    /// Names something that lies in the layer; no part of the key.
    pub fn containing(mut self, name: impl Into<String>, bytes: u64) -> Self {
        self.contents.push(Content { name: name.into(), bytes });
        self
    }

    /// Names a part of `field` that a person knows by name, to be told with its version and the
    /// digest of all that counts of it; no part of the key.
    pub fn part(mut self, field: &str, name: impl Into<String>, version: &str, of: &Value) -> Self {
        let part = Part(version.to_owned(), told::digest(of));
        self.parts.entry(field.to_owned()).or_default().insert(name.into(), part);
        self
    }

    /// Names something that a field follows from, to be told in its place; no part of the key.
    pub fn telling(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.told.insert(name, value.into());
        self
    }

    /// What an image tells of them; `chain` is what lies under the layer, which counts only if the
    /// changeset says so.
    pub fn told(&self, chain: Option<ChainId>) -> Told {
        let mut fields = told::fields(&self.fields);
        fields.extend(told::fields(&self.told));
        Told {
            kind: self.kind.to_owned(),
            version: self.version,
            format: self.format,
            under: self.rootfs.then(|| told::under(chain)),
            fields,
            parts: self.parts.clone(),
        }
    }

    /// What lies in the layer.
    pub fn contents(&self) -> &[Content] {
        &self.contents
    }

    /// Whether the ChainId under it counts.
    pub fn needs_rootfs(&self) -> bool {
        self.rootfs
    }

    /// The layers of the recipe that it sees besides those that all on the root
    /// filesystem see.
    pub fn sees(&self) -> &[String] {
        &self.sees
    }

    /// Whether the layer is the same for everybody: it can lie in a wheelhouse.
    pub fn is_for_everybody(&self) -> bool {
        self.for_everybody
    }

    /// The secrets that it can't be written without.
    pub fn secrets(&self) -> &[String] {
        &self.secrets
    }

    /// Whether its layer is part of the root filesystem that those after it see.
    pub fn is_seen(&self) -> bool {
        self.seen
    }

    /// The kind of changeset.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// What the image's history says.
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// The key over `under`, which counts only if the changeset says so.
    pub fn key(&self, under: Option<ChainId>) -> LayerKey {
        let mut canonical = serde_json::json!({
            "kind": self.kind, "version": self.version, "format": self.format, "fields": self.fields,
        });
        if self.rootfs {
            canonical["under"] = serde_json::json!(under);
        }
        LayerKey(Digest::of(canonical.to_string().as_bytes()))
    }
}
