//! Reading an image layout on disk (image-spec `image-layout.md`), as any tool may
//! have written it. Nothing in it is believed before its digest is checked.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{Descriptor, Digest, Hasher, Index, InvalidManifest, MAX_MANIFEST, ManifestOrIndex};
use super::{media_type, parse_manifest};

/// The annotation that names a manifest in a layout (image-spec `annotations.md`).
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Why a layout can't be read.
#[derive(Debug, Error)]
pub enum LayoutError {
    /// A file can't be read.
    #[error("can't read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nothing at all.
    #[error("there is no {}", path.display())]
    Missing {
        /// Where a layout was expected.
        path: PathBuf,
    },
    /// A directory without a marker file `oci-layout` of version 1.
    #[error("{} is not an OCI image layout of version 1.0.0", path.display())]
    NotALayout {
        /// The directory.
        path: PathBuf,
    },
    /// An `index.json` that is none.
    #[error("{} is not the index of an image layout", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: InvalidManifest,
    },
    /// No manifest of that name, or several and no name.
    #[error("{} {}", path.display(), tag.as_ref().map_or_else(|| "does not have exactly one manifest".to_owned(), |tag| format!("has no manifest named `{tag}`")))]
    Tag {
        /// The layout.
        path: PathBuf,
        /// The name that was asked for.
        tag: Option<String>,
        /// The names that it has.
        tags: Vec<String>,
    },
    /// A blob that is not what its descriptor says.
    #[error("{} is not what it should be: {size} bytes with the digest {digest}, found {found_size} bytes with {found}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The digest that it should have.
        digest: Digest,
        /// The length in bytes that it should have.
        size: u64,
        /// The digest of what is there, as far as it was read.
        found: Digest,
        /// How many bytes were read.
        found_size: u64,
    },
}

impl LayoutError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } | Self::NotALayout { .. } => {
                Some("name the directory that has `oci-layout` and `index.json` in it".to_owned())
            }
            Self::Tag { tags, .. } if tags.is_empty() => {
                Some("it is empty, or none of its manifests has a name".to_owned())
            }
            Self::Tag { tags, .. } => Some(format!("its names are: {}", tags.join(", "))),
            Self::Damaged { .. } | Self::Index { .. } => Some("copy the image into the layout again".to_owned()),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("the layout is incomplete: copy the image into it again".to_owned())
            }
            Self::Io { .. } => None,
        }
    }

    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// An image layout that somebody made.
#[derive(Clone, Debug)]
pub struct Layout {
    path: PathBuf,
}

impl Layout {
    /// The layout in the directory `path`.
    ///
    /// # Errors
    /// [`LayoutError::Missing`], [`LayoutError::NotALayout`], [`LayoutError::Io`].
    pub fn open(path: &Path) -> Result<Self, LayoutError> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Marker {
            image_layout_version: String,
        }
        let not_a_layout = || LayoutError::NotALayout { path: path.to_owned() };
        let marker = path.join("oci-layout");
        let bytes = match read_limited(&marker) {
            Err(LayoutError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let is_there = path.try_exists().unwrap_or(true);
                return Err(if is_there { not_a_layout() } else { LayoutError::Missing { path: path.to_owned() } });
            }
            read => read?,
        };
        // image-layout.md: "The imageLayoutVersion value will align with the OCI Image Specification version
        // at the time changes to the layout are made"
        match serde_json::from_slice::<Marker>(&bytes) {
            Ok(marker) if marker.image_layout_version == "1.0.0" => Ok(Self { path: path.to_owned() }),
            _ => Err(not_a_layout()),
        }
    }

    /// The layout's directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What `tag` names in `index.json`; without a tag, the only manifest there is.
    ///
    /// # Errors
    /// [`LayoutError::Tag`], [`LayoutError::Index`], [`LayoutError::Io`].
    pub fn find(&self, tag: Option<&str>) -> Result<Descriptor, LayoutError> {
        let index = self.index()?;
        let name = |descriptor: &Descriptor| descriptor.annotations.get(REF_NAME).cloned();
        let tags = index.manifests.iter().filter_map(name).collect();
        let mut found =
            index.manifests.into_iter().filter(|manifest| tag.is_none() || name(manifest).as_deref() == tag);
        match (found.next(), found.next()) {
            (Some(descriptor), None) => Ok(descriptor),
            _ => Err(LayoutError::Tag { path: self.path.clone(), tag: tag.map(str::to_owned), tags }),
        }
    }

    fn index(&self) -> Result<Index, LayoutError> {
        let path = self.path.join("index.json");
        let bytes = read_limited(&path)?;
        match parse_manifest(&bytes, media_type::INDEX) {
            Ok(ManifestOrIndex::Index(index)) => Ok(index),
            Ok(ManifestOrIndex::Manifest(_)) => Err(LayoutError::Index {
                path,
                source: InvalidManifest::Unsupported {
                    digest: Digest::of(&bytes),
                    media_type: media_type::MANIFEST.to_owned(),
                },
            }),
            Err(source) => Err(LayoutError::Index { path, source }),
        }
    }

    /// The file of a blob.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path.join("blobs/sha256").join(digest.hex())
    }

    /// Opens a blob for verified reading.
    ///
    /// # Errors
    /// [`LayoutError::Io`]. [`LayoutError::Damaged`] if its length is another.
    pub fn open_blob(&self, descriptor: &Descriptor) -> Result<LayoutReader, LayoutError> {
        let path = self.blob_path(&descriptor.digest);
        let file = File::open(&path).map_err(LayoutError::io(&path))?;
        Ok(LayoutReader { file, path, digest: descriptor.digest, size: descriptor.size, seen: Hasher::new() })
    }

    /// Reads a small blob whole, a manifest or a config.
    ///
    /// # Errors
    /// [`LayoutError::Io`], [`LayoutError::Damaged`].
    pub fn read(&self, descriptor: &Descriptor) -> Result<Vec<u8>, LayoutError> {
        let mut reader = self.open_blob(descriptor)?;
        let mut bytes = Vec::new();
        match reader.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(source) => Err(reader.explain(source)),
        }
    }
}

fn read_limited(path: &Path) -> Result<Vec<u8>, LayoutError> {
    let length = fs::metadata(path).map_err(LayoutError::io(path))?.len();
    if length > MAX_MANIFEST {
        return Err(LayoutError::Index { path: path.to_owned(), source: InvalidManifest::TooLarge { size: length } });
    }
    fs::read(path).map_err(LayoutError::io(path))
}

/// Reads a blob and, at its end, says whether it was what its descriptor says. It
/// never returns more bytes than the descriptor has.
pub struct LayoutReader {
    file: File,
    path: PathBuf,
    digest: Digest,
    size: u64,
    seen: Hasher,
}

impl LayoutReader {
    /// The error of this module behind an error that reading returned.
    pub fn explain(&self, error: io::Error) -> LayoutError {
        if error.kind() != io::ErrorKind::InvalidData {
            return LayoutError::io(&self.path)(error);
        }
        let (found, found_size) = self.seen.clone().finish();
        LayoutError::Damaged { path: self.path.clone(), digest: self.digest, size: self.size, found, found_size }
    }
}

impl Read for LayoutReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self.file.read(buffer)?;
        self.seen.update(&buffer[..count]);
        let damaged = if count == 0 {
            self.seen.clone().finish() != (self.digest, self.size)
        } else {
            self.seen.length() > self.size
        };
        if damaged {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged", self.path.display())));
        }
        Ok(count)
    }
}
