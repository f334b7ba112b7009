//! One record: what is known of a layer, as an artifact that any registry keeps.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Signer, VerifyingKey};
use crate::oci::{Descriptor, DiffId, Digest, Manifest, media_type};
use crate::store::{LayerKey, LayerPart, LayerRecord};

/// What a record's manifest is.
pub const ARTIFACT_TYPE: &str = "application/vnd.dlpack.layer.v1";
/// The annotation that has the record, as JSON.
pub const ANNOTATION_RECORD: &str = "dev.dlpack.record";
/// The annotation that has the signature of that very text, in base64.
pub const ANNOTATION_SIGNATURE: &str = "dev.dlpack.signature";
/// When the record was written (image-spec, annotations.md). Nothing rests on it but how
/// long the record is kept, so it is not signed.
pub(super) const ANNOTATION_CREATED: &str = "org.opencontainers.image.created";

/// The version of this form and of how keys are made. A record of another one is none.
const VERSION: u32 = 1;

/// The tag of the manifest that all records have as their subject.
pub(super) const ANCHOR_TAG: &str = "dlpack-records";
/// What the tags of records begin with.
const TAG_PREFIX: &str = "dlpack-";

/// What is known of the layer of a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    version: u32,
    /// The digest of everything that the layer is a function of.
    pub key: LayerKey,
    /// The blob.
    pub descriptor: Descriptor,
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// The tar's length in bytes.
    pub unpacked: u64,
    /// The other parts of a layer that is longer than one may be, lowest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rest: Vec<Part>,
    /// What an image's history says of it.
    pub history: String,
}

/// A part of a layer, but the first: a [`LayerPart`] in the form of this text, which has nothing else in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Part {
    /// The blob.
    pub descriptor: Descriptor,
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// The tar's length in bytes.
    pub unpacked: u64,
}

impl From<&LayerPart> for Part {
    fn from(part: &LayerPart) -> Self {
        // What an image says about the layer is no part of it.
        Self { descriptor: bare(&part.descriptor), diff_id: part.diff_id, unpacked: part.unpacked }
    }
}

impl From<&Part> for LayerPart {
    fn from(part: &Part) -> Self {
        Self { descriptor: part.descriptor.clone(), diff_id: part.diff_id, unpacked: part.unpacked }
    }
}

/// A record that was read, and when it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Dated {
    pub record: Record,
    /// Seconds since 1970; nothing if it doesn't say.
    pub created: Option<i64>,
    /// Who has signed it, if anybody has.
    pub signed: Option<Signed>,
}

/// A record's text as it stands, and a signature of that.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Signed {
    pub text: String,
    /// In base64, whoever's it is.
    pub signature: String,
}

impl Dated {
    /// Whether it is `key` that has signed it.
    pub(super) fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        self.signed.as_ref().is_some_and(|Signed { text, signature }| key.vouches_for(text, signature))
    }
}

/// Why annotations are no record to go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It can't be read, or is of another version.
    Unreadable,
    /// It is the record of this key, and no pinned key vouches for it.
    Untrusted(LayerKey),
}

impl Record {
    /// The record of the layer of `key`.
    pub fn new(key: LayerKey, layer: &LayerRecord, history: impl Into<String>) -> Self {
        let Part { descriptor, diff_id, unpacked } = Part::from(&layer.first);
        let rest = layer.rest.iter().map(Part::from).collect();
        Self { version: VERSION, key, descriptor, diff_id, unpacked, rest, history: history.into() }
    }

    /// The layer that it tells of.
    pub fn layer(&self) -> LayerRecord {
        let Self { descriptor, diff_id, unpacked, rest, .. } = self;
        let first = LayerPart { descriptor: descriptor.clone(), diff_id: *diff_id, unpacked: *unpacked };
        LayerRecord { first, rest: rest.iter().map(LayerPart::from).collect() }
    }

    /// The blobs of its parts, lowest first.
    pub(super) fn descriptors(&self) -> Vec<Descriptor> {
        std::iter::once(&self.descriptor).chain(self.rest.iter().map(|part| &part.descriptor)).cloned().collect()
    }

    /// The artifact, written at `created`, and signed by `signer`, if there is one. It has a subject
    /// where `listed`, that is where the registry lists what refers to it.
    ///
    /// # Errors
    /// Those of serde_json, for what can't be JSON.
    pub(super) fn manifest(
        &self,
        created: Timestamp,
        listed: bool,
        signer: Option<&Signer>,
    ) -> Result<Manifest, serde_json::Error> {
        let text = serde_json::to_string(self)?;
        let signature = signer.map(|signer| signer.sign(&text));
        Ok(self.artifact(text, signature, created, listed))
    }

    /// The same with what somebody else has `signed` of it.
    pub(super) fn renewed(&self, signed: &Signed, created: Timestamp, listed: bool) -> Manifest {
        self.artifact(signed.text.clone(), Some(signed.signature.clone()), created, listed)
    }

    fn artifact(&self, text: String, signature: Option<String>, created: Timestamp, listed: bool) -> Manifest {
        // manifest.md, "Guidelines for Artifact Usage": a config of `{}` where there is none
        let mut manifest = Manifest::new(empty(), self.descriptors());
        manifest.artifact_type = Some(ARTIFACT_TYPE.to_owned());
        // distribution-spec: a client that pushes a subject where there is no list MUST keep one
        // itself, in an index that all would write to; there, records are found by their tags
        manifest.subject = listed.then(|| Descriptor::of(media_type::MANIFEST, ANCHOR.as_bytes()));
        manifest.annotations.extend(signature.map(|signature| (ANNOTATION_SIGNATURE.into(), signature)));
        manifest.annotations.insert(ANNOTATION_RECORD.into(), text);
        manifest.annotations.insert(ANNOTATION_CREATED.into(), created.to_string());
        manifest
    }

    /// The record in the annotations of a manifest, if it is one and one of the `pinned`
    /// keys vouches for it. Where none is pinned, whoever may write to the repository does.
    pub(super) fn read(annotations: &BTreeMap<String, String>, pinned: &[VerifyingKey]) -> Result<Dated, Flaw> {
        let text = annotations.get(ANNOTATION_RECORD).ok_or(Flaw::Unreadable)?;
        let record: Self = serde_json::from_str(text).map_err(|_| Flaw::Unreadable)?;
        if !record.is_sound() {
            return Err(Flaw::Unreadable);
        }
        let signature = annotations.get(ANNOTATION_SIGNATURE);
        let vouched = |signature: &String| pinned.iter().any(|key| key.vouches_for(text, signature));
        if !pinned.is_empty() && !signature.is_some_and(vouched) {
            return Err(Flaw::Untrusted(record.key));
        }
        let created = annotations.get(ANNOTATION_CREATED).and_then(|text| text.parse::<Timestamp>().ok());
        let signed = signature.map(|signature| Signed { text: text.clone(), signature: signature.clone() });
        Ok(Dated { record, created: created.map(Timestamp::as_second), signed })
    }

    /// Whether it tells of a layer as dlpack writes them: bare descriptors of blobs.
    fn is_sound(&self) -> bool {
        let written = [media_type::LAYER_GZIP, media_type::LAYER_ZSTD];
        let is_blob =
            |blob: &Descriptor| *blob == bare(blob) && written.contains(&blob.media_type.as_str()) && blob.size > 0;
        self.version == VERSION && self.descriptors().iter().all(is_blob)
    }
}

fn bare(descriptor: &Descriptor) -> Descriptor {
    Descriptor::new(&descriptor.media_type, descriptor.digest, descriptor.size)
}

/// The tag under which the record of `key` lies.
pub(super) fn tag(key: &LayerKey) -> String {
    format!("{TAG_PREFIX}{}", key.0.hex())
}

/// The key whose record lies under `tag`, if it is made of one.
pub(super) fn key_of_tag(tag: &str) -> Option<LayerKey> {
    Digest::from_hex(tag.strip_prefix(TAG_PREFIX)?).ok().map(LayerKey)
}

/// The config of manifests that have none (manifest.md).
pub(super) const EMPTY: &[u8] = b"{}";

/// The descriptor of that.
pub(super) fn empty() -> Descriptor {
    Descriptor::of("application/vnd.oci.empty.v1+json", EMPTY)
}

/// What all records are about: a manifest with nothing in it, the same everywhere.
pub(super) const ANCHOR: &str = concat!(
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","#,
    r#""artifactType":"application/vnd.dlpack.records.v1","#,
    r#""config":{"mediaType":"application/vnd.oci.empty.v1+json","#,
    r#""digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"#,
    r#""layers":[{"mediaType":"application/vnd.oci.empty.v1+json","#,
    r#""digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}]}"#,
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::parse_manifest;

    fn record() -> Record {
        let descriptor = Descriptor::of(media_type::LAYER_GZIP, b"a layer");
        let layer = LayerPart { descriptor, diff_id: DiffId(Digest::of(b"its tar")), unpacked: 10_240 };
        Record::new(LayerKey(Digest::of(b"its inputs")), &layer.into(), "torch 2.6.0")
    }

    #[test]
    fn the_anchor_is_a_manifest_of_the_empty_blob() {
        parse_manifest(ANCHOR.as_bytes(), media_type::MANIFEST).unwrap();
        assert_eq!(ANCHOR.matches(&empty().digest.to_string()).count(), 2);
    }

    #[test]
    fn a_record_comes_back_out_of_its_artifact() {
        let manifest = record().manifest(Timestamp::UNIX_EPOCH, true, None).unwrap();
        let read = Record::read(&manifest.annotations, &[]).unwrap();
        assert_eq!(read, Dated { record: record(), created: Some(0), signed: None });
        assert_eq!(manifest.layers, [record().descriptor]);
        assert!(tag(&record().key).len() <= 128);
        assert_eq!(key_of_tag(&tag(&record().key)), Some(record().key));
        assert_eq!(key_of_tag(ANCHOR_TAG), None);
    }

    #[test]
    fn a_record_of_a_layer_in_parts_names_all_of_them() {
        let mut layer = record().layer();
        let descriptor = Descriptor::of(media_type::LAYER_GZIP, b"more of it");
        layer.rest.push(LayerPart { descriptor, diff_id: DiffId(Digest::of(b"its tar, too")), unpacked: 512 });
        let record = Record::new(record().key, &layer, "torch 2.6.0");
        let manifest = record.manifest(Timestamp::UNIX_EPOCH, true, None).unwrap();
        let read = Record::read(&manifest.annotations, &[]).unwrap().record;
        assert_eq!((&read.layer(), manifest.layers), (&layer, read.descriptors()));
        let text = manifest.annotations[ANNOTATION_RECORD].replace("\"size\":10", "\"size\":0");
        let forged = BTreeMap::from([(ANNOTATION_RECORD.to_owned(), text)]);
        assert_eq!(Record::read(&forged, &[]), Err(Flaw::Unreadable));
    }

    #[test]
    fn what_is_not_as_dlpack_writes_it_is_no_record() {
        let annotations = record().manifest(Timestamp::UNIX_EPOCH, true, None).unwrap().annotations;
        let text = &annotations[ANNOTATION_RECORD];
        for (from, to) in [
            ("\"version\":1", "\"version\":2"),
            ("\"version\":1", "\"version\":1,\"more\":1"),
            ("layer.v1.tar+gzip", "layer.nondistributable.v1.tar+gzip"),
            ("\"size\":7", "\"size\":0"),
            ("\"size\":7", "\"size\":7,\"urls\":[\"https://example.com/\"]"),
            ("sha256:", "sha512:"),
            ("{", "["),
        ] {
            assert!(text.contains(from), "{from}");
            let forged = BTreeMap::from([(ANNOTATION_RECORD.to_owned(), text.replacen(from, to, 1))]);
            assert_eq!(Record::read(&forged, &[]), Err(Flaw::Unreadable), "{to}");
        }
        assert_eq!(Record::read(&BTreeMap::new(), &[]), Err(Flaw::Unreadable));
    }
}
