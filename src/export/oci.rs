//! An OCI image layout (image-spec `image-layout.md`) with one image: what skopeo, podman,
//! umoci, nerdctl and Apptainer read as `oci:` and `oci-archive:`.

use std::collections::{BTreeMap, BTreeSet};

use super::members::{Members, blob};
use super::output::Job;
use super::{Error, Image};
use crate::oci::{Descriptor, Digest, Index, Platform, REF_NAME};

/// Writes the image's layout.
pub(super) fn write(job: &Job<'_>, members: &mut dyn Members) -> Result<(), Error> {
    let image = job.image;
    // image-layout.md: "imageLayoutVersion" is "1.0.0"
    members.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    members.file("index.json", &index(image)?)?;
    members.file(&name(&image.manifest.descriptor.digest), &image.manifest.bytes)?;
    members.file(&name(&image.config.descriptor.digest), &image.config.bytes)?;
    let mut written = BTreeSet::from([image.manifest.descriptor.digest, image.config.descriptor.digest]);
    for layer in &image.layers {
        // an image may have a layer twice
        if written.insert(layer.descriptor.digest) {
            blob(job, &name(&layer.descriptor.digest), &layer.descriptor, members)?;
        }
    }
    Ok(())
}

/// What the layout's `index.json` says: nothing but what the image itself says, and its name.
fn index(image: &Image) -> Result<Vec<u8>, Error> {
    let config = &image.config.value;
    let platform =
        Platform { os: config.os.clone(), architecture: config.architecture.clone(), variant: config.variant.clone() };
    let Descriptor { media_type, digest, size, .. } = &image.manifest.descriptor;
    let mut manifest = Descriptor::new(media_type, *digest, *size).with_platform(&platform);
    // annotations.md: "org.opencontainers.image.ref.name" is the reference for a target
    manifest.annotations = BTreeMap::from_iter(image.tag().map(|tag| (REF_NAME.to_owned(), tag.to_owned())));
    let index = Index { manifests: vec![manifest], ..Index::default() };
    serde_json::to_vec(&index).map_err(|source| Error::Encode { manifest: *digest, source })
}

/// image-layout.md: `blobs/<alg>/<encoded>`
fn name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}
