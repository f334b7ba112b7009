//! Manifests and indexes (image-spec `manifest.md`, `image-index.md`). They are
//! read through `oci-spec`, strictly, since the bytes come from outside; they are
//! written from the types here, whose maps are sorted: same image, same bytes.

use std::collections::{BTreeMap, HashMap};

use oci_spec::image as wire;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Digest, InvalidDigest, Platform, media_type};

/// Largest manifest that is read, in bytes: the distribution-spec's "at least
/// 4 megabytes" that registries accept.
pub const MAX_MANIFEST: u64 = 4 * 1024 * 1024;

/// Why bytes are not a manifest or an index.
#[derive(Debug, Error)]
pub enum InvalidManifest {
    /// Not JSON, or a field of the wrong form.
    #[error("manifest {digest} can't be read")]
    Json {
        /// The manifest.
        digest: Digest,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// `layers` and `manifests` in one document (CVE-2021-41190).
    #[error("manifest {digest} has both `layers` and `manifests`: it can be read two ways")]
    Ambiguous {
        /// The manifest.
        digest: Digest,
    },
    /// The document's `mediaType` is not what the registry said it is.
    #[error("manifest {digest} says it is `{inside}` but came as `{outside}`")]
    MediaType {
        /// The manifest.
        digest: Digest,
        /// `mediaType` in the document.
        inside: String,
        /// Content-Type, or the descriptor's media type.
        outside: String,
    },
    /// A descriptor whose digest is none.
    #[error("manifest {digest} names a blob by a digest of the wrong form")]
    Digest {
        /// The manifest.
        digest: Digest,
        /// The digest as it stands there.
        #[source]
        source: InvalidDigest,
    },
    /// Something that is no image: schema 1, an artifact, a text.
    #[error("manifest {digest} is a `{media_type}`, which is neither an image nor an index")]
    Unsupported {
        /// The manifest.
        digest: Digest,
        /// What it says it is.
        media_type: String,
    },
    /// More bytes than a registry may serve.
    #[error("a manifest of {size} bytes is over the limit of {MAX_MANIFEST}")]
    TooLarge {
        /// How large it is.
        size: u64,
    },
}

/// A reference to a blob (image-spec `descriptor.md`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the bytes are.
    pub media_type: String,
    /// Their digest.
    pub digest: Digest,
    /// Their length in bytes.
    pub size: u64,
    /// Other places that serve the bytes; kept for Docker's foreign layers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The platform of the manifest that it points to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<DescriptorPlatform>,
}

/// The platform object of an index entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DescriptorPlatform {
    /// Go's name of the architecture.
    pub architecture: String,
    /// Go's name of the operating system.
    pub os: String,
    /// The architecture's variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Descriptor {
    /// A descriptor without annotations, of `size` bytes.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
        }
    }

    /// A descriptor of `bytes`.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    /// The same for a manifest that runs on `platform`.
    pub fn with_platform(mut self, platform: &Platform) -> Self {
        self.platform = Some(DescriptorPlatform {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            variant: platform.variant.clone(),
        });
        self
    }

    /// The platform that an index entry names.
    pub fn platform(&self) -> Option<Platform> {
        let platform = self.platform.as_ref()?;
        Some(Platform {
            os: platform.os.clone(),
            architecture: platform.architecture.clone(),
            variant: platform.variant.clone(),
        })
    }
}

/// An image manifest.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u8,
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The kind of artifact, for a manifest that is no image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The config blob.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// What the manifest is about, for `referrers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// The manifest's bytes: the same for the same manifest, always.
    ///
    /// # Errors
    /// Those of serde_json, for what can't be JSON.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// An OCI manifest of a config and layers.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media_type::MANIFEST.to_owned()),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }
}

/// An image index.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u8,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// One manifest a platform.
    pub manifests: Vec<Descriptor>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media_type::INDEX.to_owned()),
            manifests: Vec::new(),
            annotations: BTreeMap::new(),
        }
    }
}

/// What a tag can name.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, on its way to being taken apart")]
#[derive(Clone, Debug, PartialEq)]
pub enum ManifestOrIndex {
    /// One image.
    Manifest(Manifest),
    /// One image a platform.
    Index(Index),
}

/// Reads a manifest or an index that came as `content_type`.
///
/// # Errors
/// Every way in which the bytes could be taken for something else; see
/// [`InvalidManifest`].
pub fn parse_manifest(bytes: &[u8], content_type: &str) -> Result<ManifestOrIndex, InvalidManifest> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Shape {
        media_type: Option<String>,
        layers: Option<serde::de::IgnoredAny>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    if bytes.len() as u64 > MAX_MANIFEST {
        return Err(InvalidManifest::TooLarge { size: bytes.len() as u64 });
    }
    let digest = Digest::of(bytes);
    let json = |source| InvalidManifest::Json { digest, source };
    let shape: Shape = serde_json::from_slice(bytes).map_err(json)?;
    // manifest.md, CVE-2021-41190: "implementations MUST … reject … both `manifests` and `layers`"
    if shape.layers.is_some() && shape.manifests.is_some() {
        return Err(InvalidManifest::Ambiguous { digest });
    }
    // RFC 9110 8.3: parameters follow the type after a semicolon
    let outside = content_type.split(';').next().unwrap_or_default().trim();
    if let Some(inside) = &shape.media_type
        && inside != outside
    {
        return Err(InvalidManifest::MediaType { digest, inside: inside.clone(), outside: outside.to_owned() });
    }
    let named = |source| InvalidManifest::Digest { digest, source };
    match media_type::normalised(outside) {
        media_type::MANIFEST if shape.manifests.is_none() => {
            let manifest: wire::ImageManifest = serde_json::from_slice(bytes).map_err(json)?;
            Manifest::try_from(manifest).map(ManifestOrIndex::Manifest).map_err(named)
        }
        media_type::INDEX if shape.layers.is_none() => {
            let index: wire::ImageIndex = serde_json::from_slice(bytes).map_err(json)?;
            Index::try_from(index).map(ManifestOrIndex::Index).map_err(named)
        }
        other => Err(InvalidManifest::Unsupported { digest, media_type: other.to_owned() }),
    }
}

impl TryFrom<wire::ImageManifest> for Manifest {
    type Error = InvalidDigest;

    fn try_from(manifest: wire::ImageManifest) -> Result<Self, InvalidDigest> {
        Ok(Self {
            schema_version: 2,
            media_type: manifest.media_type().as_ref().map(ToString::to_string),
            artifact_type: manifest.artifact_type().as_ref().map(ToString::to_string),
            config: manifest.config().try_into()?,
            layers: manifest.layers().iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            subject: manifest.subject().as_ref().map(TryInto::try_into).transpose()?,
            annotations: sorted(manifest.annotations()),
        })
    }
}

impl TryFrom<wire::ImageIndex> for Index {
    type Error = InvalidDigest;

    fn try_from(index: wire::ImageIndex) -> Result<Self, InvalidDigest> {
        Ok(Self {
            schema_version: 2,
            media_type: index.media_type().as_ref().map(ToString::to_string),
            manifests: index.manifests().iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            annotations: sorted(index.annotations()),
        })
    }
}

impl TryFrom<&wire::Descriptor> for Descriptor {
    type Error = InvalidDigest;

    fn try_from(descriptor: &wire::Descriptor) -> Result<Self, InvalidDigest> {
        Ok(Self {
            media_type: descriptor.media_type().to_string(),
            digest: descriptor.digest().to_string().parse()?,
            size: descriptor.size(),
            urls: descriptor.urls().clone().unwrap_or_default(),
            annotations: sorted(descriptor.annotations()),
            platform: descriptor.platform().as_ref().map(|platform| DescriptorPlatform {
                architecture: platform.architecture().to_string(),
                os: platform.os().to_string(),
                variant: platform.variant().clone(),
            }),
        })
    }
}

fn sorted(annotations: &Option<HashMap<String, String>>) -> BTreeMap<String, String> {
    annotations.iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect()
}
