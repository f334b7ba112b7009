//! What an image tells of the inputs of each of its layers, so that the next build can say which of
//! them changed. It stands in an annotation for everybody to read: short values and digests, never
//! a secret, and never so much that a registry refuses the manifest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::oci::{ChainId, Digest};
use crate::sandbox::Lacks;

/// The annotation of a layer's descriptor that names the recipe's layer.
pub const ANNOTATION_LAYER: &str = "dev.dlpack.layer";
/// The annotation that has the layer's key.
pub const ANNOTATION_KEY: &str = "dev.dlpack.key";
/// The annotation that has [`Told`], as JSON.
pub const ANNOTATION_INPUTS: &str = "dev.dlpack.inputs";

/// The annotation of each part but the first of a layer that is longer than one may be: which
/// it is, from 2. What is told of the layer stands at its first part.
pub const ANNOTATION_PART: &str = "dev.dlpack.part";

/// The field that says what the sandbox did without, where it did.
const SANDBOX: &str = "sandbox";

/// How long a value may be that is told as it stands, in characters. Of others a digest is told.
const SHORT: usize = 64;

/// How long what is told of one layer may be, and of all of an image, in bytes of JSON: a
/// manifest may have 4 MiB, and the base's layers and annotations are to find room in it, too.
const MAX_LAYER: usize = 64 << 10;
const MAX_IMAGE: usize = 1 << 20;

/// What is told of a layer's inputs.
///
/// ```json
/// {"kind":"wheels","version":1,"format":2,
///  "fields":{"compression":"gzip","path":"/opt/venv","python":"3.11","wheels":"#5d9b8e4a01c7"},
///  "parts":{"wheels":{"six":["1.16.0","8abb2f1d8689"]}}}
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// The kind of changeset.
    pub kind: String,
    /// The version of the code that writes this kind.
    pub version: u32,
    /// The version of the code that writes layers.
    pub format: u32,
    /// The first digits of the ChainId under it, where that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under: Option<String>,
    /// Each field: its value where that is short, else `#` and the first digits of its digest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
    /// The parts of fields that have names of their own, by field and name: wheels, packages, files.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, BTreeMap<String, Part>>,
}

/// A part of a field: a wheel, a package, a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part(
    /// Its version; empty for what has none.
    pub String,
    /// The first digits of the digest of all that counts of it.
    pub String,
);

impl Part {
    /// The version, where there is one.
    pub fn version(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|version| !version.is_empty())
    }
}

impl Told {
    /// Whether a field's value was too long, or not for everybody to read, so that what is told is
    /// a digest.
    pub fn is_digest(value: &str) -> bool {
        value.starts_with('#')
    }

    /// The same of a layer that was made in a sandbox that `lacks` something.
    pub fn made_without(mut self, lacks: &Lacks) -> Self {
        if !lacks.is_empty() {
            self.fields.insert(SANDBOX.to_owned(), lacks.to_string());
        }
        self
    }

    /// As JSON that is at most so long that it can stand in a manifest beside others: names of
    /// parts are left out where there are too many, and their fields' digests stand for them.
    fn encoded(&self) -> Option<String> {
        let whole = serde_json::to_string(self).ok()?;
        if whole.len() <= MAX_LAYER { Some(whole) } else { self.without_parts() }
    }

    fn without_parts(&self) -> Option<String> {
        let short = serde_json::to_string(&Self { parts: BTreeMap::new(), ..self.clone() }).ok()?;
        (short.len() <= MAX_LAYER).then_some(short)
    }

    /// What annotations say of all layers of an image, in their order: together at most 1 MiB. The
    /// longest are the first to say less.
    pub fn annotations(layers: &[Self]) -> Vec<Option<String>> {
        let mut encoded: Vec<Option<String>> = layers.iter().map(Self::encoded).collect();
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let mut longest: Vec<usize> = (0..layers.len()).collect();
        longest.sort_by_key(|at| std::cmp::Reverse(length(&encoded[*at])));
        let mut total: usize = encoded.iter().map(length).sum();
        for at in longest {
            if total <= MAX_IMAGE {
                break;
            }
            total -= length(&encoded[at]);
            encoded[at] = layers[at].without_parts();
            total += length(&encoded[at]);
        }
        encoded
    }
}

/// The fields of a changeset as they are told.
pub(super) fn fields(fields: &BTreeMap<&'static str, Value>) -> BTreeMap<String, String> {
    let told = fields.iter().filter_map(|(name, value)| Some(((*name).to_owned(), field(value)?)));
    told.collect()
}

/// A field's value; nothing where it has none.
fn field(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::Array(items) if items.is_empty() => return None,
        Value::Object(fields) if fields.is_empty() => return None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(items) => items.iter().map(Value::as_str).collect::<Option<Vec<_>>>().map(|words| words.join(" ")),
        Value::Object(_) => None,
    };
    let plain =
        |text: &String| text.chars().count() <= SHORT && !text.chars().any(char::is_control) && !Told::is_digest(text);
    Some(text.filter(plain).unwrap_or_else(|| format!("#{}", digest(value))))
}

/// The first digits of the digest of a value.
pub(super) fn digest(value: &Value) -> String {
    Digest::of(value.to_string().as_bytes()).short()
}

/// The first digits of a ChainId.
pub(super) fn under(chain: Option<ChainId>) -> String {
    // Nothing lies under the first layer on `scratch`.
    chain.map_or_else(String::new, |chain| chain.0.short())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn layer_of(parts: usize) -> Told {
        let part = |n: usize| (format!("package-{n}"), Part(format!("1.{n}"), "0123456789ab".into()));
        Told {
            kind: "apt".into(),
            fields: [("debs".to_owned(), "#0123456789ab".to_owned())].into(),
            parts: [("debs".to_owned(), (0..parts).map(part).collect())].into(),
            ..Told::default()
        }
    }

    #[test]
    fn what_is_long_or_has_several_lines_is_told_as_its_digest() {
        assert_eq!(field(&json!("3.11")).as_deref(), Some("3.11"));
        assert_eq!(field(&json!(["sudo", "tmux"])).as_deref(), Some("sudo tmux"));
        for nothing in [json!(null), json!([]), json!({})] {
            assert_eq!(field(&nothing), None);
        }
        for digested in [json!("x".repeat(65)), json!("a\nb"), json!("#a"), json!({ "TOKEN": "hush" }), json!([1])] {
            let told = field(&digested).unwrap();
            assert!(Told::is_digest(&told) && told.len() == 13, "{told}");
        }
    }

    #[test]
    fn however_many_layers_and_parts_there_are_a_manifest_has_room_for_what_is_told() {
        for (layers, parts) in [(1, 100_000), (127, 1_000), (127, 5_000), (40, 10)] {
            let told = Told::annotations(&vec![layer_of(parts); layers]);
            assert!(told.iter().flatten().map(String::len).sum::<usize>() <= MAX_IMAGE);
            let all: Vec<Told> = told.iter().flatten().map(|text| serde_json::from_str(text).unwrap()).collect();
            assert_eq!(all.len(), layers);
            assert!(all.iter().all(|told| told.fields.contains_key("debs")));
            assert_eq!(all.last().unwrap().parts.is_empty(), parts > 1_000);
        }
    }
}
