//! Which images a store has, by their names.

use std::fs;
use std::time::SystemTime;

use super::{Area, Error, Store};
use crate::oci::{Digest, media_type};

/// An image that has a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Its name.
    pub name: String,
    /// Its manifest's, or that of an index of several platforms' images.
    pub digest: Digest,
    /// The length in bytes of all its layers, as registries keep them; each counts once.
    pub size: u64,
    /// How many of these bytes are in the store: a push keeps what it knows of layers, and not
    /// always them.
    pub here: u64,
    /// When its manifest was last read or written, to a minute; none if it is not here.
    pub last_used: Option<SystemTime>,
}

impl Store {
    /// The images that have a name, in order of name. To look at them is no use of them.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Index`].
    pub fn images(&self) -> Result<Vec<Image>, Error> {
        let image = |(name, descriptor): (String, crate::oci::Descriptor)| {
            let digest = descriptor.digest;
            let (mut size, mut here) = (0, 0);
            for part in self.closure(&descriptor)?.iter().filter(|part| is_layer(&part.media_type)) {
                size += part.size;
                here += self.size(Area::Blobs, &part.digest).map_or(0, |_| part.size);
            }
            let last_used = fs::metadata(self.path(Area::Blobs, &digest)).and_then(|manifest| manifest.modified()).ok();
            Ok(Image { name, digest, size, here, last_used })
        };
        self.tags()?.into_iter().map(image).collect()
    }
}

/// Whether what an image leads to is neither a manifest nor a config.
fn is_layer(media_type: &str) -> bool {
    let configs = [media_type::CONFIG, media_type::DOCKER_CONFIG];
    !media_type::ACCEPTED_MANIFESTS.contains(&media_type) && !configs.contains(&media_type)
}
