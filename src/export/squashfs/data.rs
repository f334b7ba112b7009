//! The contents of files: blocks of 128 KiB, and what is shorter together in fragments.

use std::collections::HashMap;

use super::compress::{Packed, Pipeline};
use super::{Error, Job, Output};
use crate::export::tree::{Content, Id};
use crate::layer::Compression;

/// What a block of a file holds, in bytes: mksquashfs's default, which all readers take.
pub(super) const BLOCK: usize = 128 << 10;
/// kernel: `SQUASHFS_COMPRESSED_BIT_BLOCK`, set in the length of a block that is not compressed.
const STORED: u32 = 1 << 24;
/// kernel: `SQUASHFS_INVALID_FRAG`
pub(super) const NO_FRAGMENT: u32 = u32::MAX;

/// Where the bytes of a file are.
pub(super) struct Extent {
    /// Where its blocks begin, if any is stored.
    pub(super) start: Option<u64>,
    /// Their lengths as they are stored; 0 is a block of zeros that is not.
    pub(super) blocks: Vec<u32>,
    /// How many bytes are not stored.
    pub(super) holes: u64,
    /// The fragment, and where in it the bytes are that no block has.
    pub(super) fragment: u32,
    pub(super) offset: u32,
}

impl Default for Extent {
    fn default() -> Self {
        Self { start: None, blocks: Vec::new(), holes: 0, fragment: NO_FRAGMENT, offset: 0 }
    }
}

/// What a block is.
enum Part {
    /// The `number`th of a file.
    Block { of: Id, number: usize },
    /// The `number`th fragment.
    Fragment { number: usize },
}

/// The contents that were written.
pub(super) struct Contents {
    pub(super) extents: HashMap<Id, Extent>,
    /// Where each fragment is, and its length as it is stored.
    pub(super) fragments: Vec<(u64, u32)>,
}

/// Contents on their way into the output.
pub(super) struct Writer<'a> {
    job: &'a Job<'a>,
    out: &'a mut Output,
    /// Where the filesystem begins in it.
    origin: u64,
    pipeline: Pipeline<Part>,
    fragment: Vec<u8>,
    contents: Contents,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        job: &'a Job<'a>,
        out: &'a mut Output,
        origin: u64,
        compression: Compression,
    ) -> Result<Self, Error> {
        let contents = Contents { extents: HashMap::new(), fragments: Vec::new() };
        let pipeline = Pipeline::start(compression).map_err(Error::write("start threads for", out.path()))?;
        Ok(Self { job, out, origin, pipeline, fragment: Vec::with_capacity(BLOCK), contents })
    }

    /// Takes the content of the file `id`.
    pub(super) fn file(&mut self, id: Id, content: &mut Content<'_, '_>) -> Result<(), Error> {
        let mut extent = Extent::default();
        loop {
            self.job.is_wanted()?;
            let mut block = vec![0; BLOCK];
            let filled = content.fill(&mut block)?;
            block.truncate(filled);
            if filled == 0 {
                break;
            }
            if extent.blocks.is_empty() && filled < BLOCK {
                (extent.fragment, extent.offset) = self.append(&block)?;
                break;
            }
            let number = extent.blocks.len();
            extent.blocks.push(0);
            if block.iter().all(|byte| *byte == 0) {
                extent.holes += filled as u64;
            } else {
                self.pipeline.push(Part::Block { of: id, number }, block);
            }
            self.write(false)?;
            if filled < BLOCK {
                break;
            }
        }
        self.settle(id, extent);
        Ok(())
    }

    /// Ends them.
    pub(super) fn finish(mut self) -> Result<Contents, Error> {
        self.flush()?;
        self.write(true)?;
        Ok(self.contents)
    }

    /// Keeps what is known of a file; of its blocks some may have been written.
    fn settle(&mut self, id: Id, found: Extent) {
        let extent = self.contents.extents.entry(id).or_default();
        extent.blocks.resize(found.blocks.len(), 0);
        (extent.holes, extent.fragment, extent.offset) = (found.holes, found.fragment, found.offset);
    }

    /// Puts what is shorter than a block with others.
    fn append(&mut self, bytes: &[u8]) -> Result<(u32, u32), Error> {
        if self.fragment.len() + bytes.len() > BLOCK {
            self.flush()?;
        }
        // it will be the next one
        let place = (self.contents.fragments.len() as u32, self.fragment.len() as u32);
        self.fragment.extend_from_slice(bytes);
        Ok(place)
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.fragment.is_empty() {
            return Ok(());
        }
        let number = self.contents.fragments.len();
        self.contents.fragments.push((0, 0));
        let fragment = std::mem::replace(&mut self.fragment, Vec::with_capacity(BLOCK));
        self.pipeline.push(Part::Fragment { number }, fragment);
        self.write(false)
    }

    /// Writes the blocks that are ready and due, in order.
    fn write(&mut self, all: bool) -> Result<(), Error> {
        loop {
            let ended = Error::write("compress", self.out.path());
            let Some((part, Packed { bytes, is_compressed })) = self.pipeline.pop(all).map_err(ended)? else {
                return Ok(());
            };
            self.job.is_wanted()?;
            let start = self.out.written() - self.origin;
            // 128 KiB at most
            let length = bytes.len() as u32 | if is_compressed { 0 } else { STORED };
            self.out.put(&bytes)?;
            match part {
                Part::Fragment { number } => self.contents.fragments[number] = (start, length),
                Part::Block { of, number } => {
                    let extent = self.contents.extents.entry(of).or_default();
                    extent.start.get_or_insert(start);
                    extent.blocks.resize(extent.blocks.len().max(number + 1), 0);
                    extent.blocks[number] = length;
                }
            }
        }
    }
}
