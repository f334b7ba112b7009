//! The tar that `docker load` reads (docker image-spec v1.2, "Combined Image JSON + Filesystem
//! Changeset Format"), which podman, containerd, kind, enroot and Apptainer read, too.

use std::collections::BTreeSet;
use std::io;

use serde::Serialize;

use super::members::{Members, blob};
use super::output::Job;
use super::{Error, Layer};
use crate::layer::read::{self, InvalidTar, ReadError};
use crate::oci::media_type;

/// How much of a layer is inflated at a time, in bytes.
const CHUNK: usize = 256 << 10;

/// The image's entry in `manifest.json`, with Docker's names.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    config: &'a str,
    repo_tags: Option<[&'a str; 1]>,
    layers: Vec<String>,
}

/// Writes the image's archive. Layers stay compressed as they are, as long as every docker
/// takes them so: that is gzip, and zstd from Docker 23 on.
pub(super) fn write(job: &Job<'_>, members: &mut dyn Members) -> Result<(), Error> {
    let image = job.image;
    let mut written = BTreeSet::new();
    for layer in &image.layers {
        // an image may have a layer twice
        if written.insert(layer.descriptor.digest) {
            match is_zstd(layer) {
                true => unpacked(job, layer, members)?,
                false => blob(job, &name(layer), &layer.descriptor, members)?,
            }
        }
    }
    // "The name of the JSON file is the image's ID": the digest of the config
    let config = format!("{}.json", image.config.descriptor.digest.hex());
    members.file(&config, &image.config.bytes)?;
    // "the layers … in order from the bottom-most to the top-most"
    let entry = Entry {
        config: &config,
        repo_tags: image.tag().map(|tag| [tag]),
        layers: image.layers.iter().map(name).collect(),
    };
    let encoded = serde_json::to_vec(&[entry]);
    members.file(
        "manifest.json",
        &encoded.map_err(|source| Error::Encode { manifest: image.manifest.descriptor.digest, source })?,
    )
}

fn is_zstd(layer: &Layer) -> bool {
    media_type::normalised(&layer.descriptor.media_type) == media_type::LAYER_ZSTD
}

fn name(layer: &Layer) -> String {
    let digest = layer.descriptor.digest.hex();
    match media_type::normalised(&layer.descriptor.media_type) {
        media_type::LAYER_TAR | media_type::LAYER_ZSTD => format!("{digest}.tar"),
        _ => format!("{digest}.tar.gz"),
    }
}

/// Takes the tar inside a layer. A tar's header says how long what follows is: the layer is
/// inflated once to know.
fn unpacked(job: &Job<'_>, layer: &Layer, members: &mut dyn Members) -> Result<(), Error> {
    let mut size = 0;
    inflate(job, layer, &mut |bytes| {
        size += bytes.len() as u64;
        Ok(())
    })?;
    members.begin(&name(layer), size)?;
    inflate(job, layer, &mut |bytes| members.put(bytes))?;
    job.advance(usize::try_from(layer.descriptor.size).unwrap_or(usize::MAX))?;
    members.end()
}

fn inflate(job: &Job<'_>, layer: &Layer, take: &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
    let digest = layer.descriptor.digest;
    job.image.walk(layer, |blob, diff_id| {
        read::unpack(&layer.descriptor, diff_id, blob, |tar| {
            let (mut buffer, mut at) = (vec![0; CHUNK], 0);
            loop {
                let count = match tar.read(&mut buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(source) => {
                        return Err(ReadError::Tar { layer: digest, source: InvalidTar::Io { at, source } }.into());
                    }
                    Ok(0) => return Ok(()),
                    Ok(count) => count,
                };
                job.is_wanted()?;
                at += count as u64;
                take(&buffer[..count])?;
            }
        })
    })
}
