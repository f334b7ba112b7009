//! The contents of a tree's files, as they stand in the layers, one after the other.

use std::collections::HashMap;
use std::io::Read;

use super::{Bytes, Error, Id, Job, Kind, Tree};
use crate::layer::read::{self, Archive, InvalidTar, ReadError};
use crate::oci::Digest;

/// The content of a file, being read.
pub(in crate::export) enum Content<'a, 'b> {
    /// Of a layer.
    Layer { layer: Digest, archive: &'a mut Archive<&'b mut dyn Read>, left: u64 },
    /// Of nobody's.
    Here(&'a [u8]),
}

impl Content<'_, '_> {
    /// Fills `buffer` as far as there is content, and returns how far that was.
    pub(in crate::export) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        match self {
            Self::Here(bytes) => {
                let (now, later) = bytes.split_at(bytes.len().min(buffer.len()));
                buffer[..now.len()].copy_from_slice(now);
                *bytes = later;
                Ok(now.len())
            }
            Self::Layer { layer, archive, left } => {
                let wanted = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                let at = archive.position();
                let read = archive.reader(*left).read_exact(&mut buffer[..wanted]);
                let tar = |source| ReadError::Tar { layer: *layer, source: InvalidTar::Io { at, source } };
                read.map_err(tar)?;
                *left -= wanted as u64;
                Ok(wanted)
            }
        }
    }
}

impl Tree {
    /// Gives the content of each file to `take`: as the layers have them, those of no layer
    /// last. Layers of which nothing is left are not read again.
    pub(in crate::export) fn contents(
        &self,
        job: &Job<'_>,
        take: &mut dyn FnMut(Id, &mut Content<'_, '_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut wanted: HashMap<usize, HashMap<u64, Id>> = HashMap::new();
        let mut here: Vec<(Id, &[u8])> = Vec::new();
        for (id, _) in self.named() {
            match &self.node(id).kind {
                Kind::File(Bytes::Layer { layer, entry, size }) if *size > 0 => {
                    wanted.entry(*layer).or_default().insert(*entry, id);
                }
                Kind::File(Bytes::Here(bytes)) if !bytes.is_empty() => here.push((id, bytes)),
                _ => {}
            }
        }
        for (number, layer) in job.image.layers.iter().enumerate() {
            if let Some(wanted) = wanted.get(&number) {
                let digest = layer.descriptor.digest;
                job.image.walk(layer, |blob, diff_id| {
                    let blob = job.counted(blob);
                    read::walk(&layer.descriptor, diff_id, blob, |archive| walk(digest, archive, wanted, job, take))
                })?;
            }
        }
        here.into_iter().try_for_each(|(id, bytes)| take(id, &mut Content::Here(bytes)))
    }
}

fn walk(
    layer: Digest,
    archive: &mut Archive<&mut dyn Read>,
    wanted: &HashMap<u64, Id>,
    job: &Job<'_>,
    take: &mut dyn FnMut(Id, &mut Content<'_, '_>) -> Result<(), Error>,
) -> Result<(), Error> {
    for number in 0.. {
        let next = archive.next_entry().map_err(|source| ReadError::Tar { layer, source })?;
        let Some(entry) = next else { break };
        job.is_wanted()?;
        if let Some(id) = wanted.get(&number) {
            take(*id, &mut Content::Layer { layer, archive, left: entry.size })?;
        }
    }
    Ok(())
}
