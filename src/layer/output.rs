//! The two ways of a layer's bytes: the tar to its DiffID, the compressed tar to
//! the blob.

use std::io::{self, Read};

use super::deflate::Encoder;
use super::inflate::{Flaw, Inflater, Taker};
use super::lane::Lane;
use super::sink;
use super::{Compression, Threads};
use crate::oci::Hasher;

/// zstd's own default: what it is fast at.
const ZSTD_LEVEL: i32 = 3;

// RFC 1952, 2.3: ID1 ID2, CM = deflate, FLG, MTIME (none), XFL, OS = unknown
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// RFC 1952, 2.3.1: CRC32 and ISIZE.
const TRAILER: u64 = 8;
/// What zstd needs besides for frame and blocks, in bytes, with room to spare.
const ZSTD_MARGIN: u64 = 1024;

/// Takes a tar, part of it compressed already.
pub(super) struct Output {
    diff: Lane<Hasher>,
    blob: Blob,
    /// How many bytes of the tar there are.
    tar: u64,
    inflater: Option<Box<Inflater>>,
}

enum Blob {
    Gzip(Box<Gzip>),
    Zstd(Box<Lane<zstd::Encoder<'static, sink::Blob>>>),
}

/// One gzip member: literals by our own encoder, streams as they come.
struct Gzip {
    lane: Lane<sink::Blob>,
    encoder: Encoder,
    /// Of the whole tar so far.
    crc: crc32fast::Hasher,
    /// How many bytes went into the lane.
    length: u64,
}

impl Gzip {
    fn pass(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.length += bytes.len() as u64;
        self.lane.write(bytes)
    }

    fn pass_encoded(&mut self) -> io::Result<()> {
        let Self { lane, encoder, length, .. } = self;
        encoder.take(&mut |encoded| {
            *length += encoded.len() as u64;
            lane.write(encoded)
        })
    }
}

impl Output {
    pub(super) fn new(blob: sink::Blob, compression: Compression, threads: Threads) -> io::Result<Self> {
        let thread = |name| (threads == Threads::Several).then_some(name);
        let diff = Lane::new(Hasher::new(), thread("layer-diff-id"))?;
        let blob = match compression {
            Compression::Gzip => {
                let lane = Lane::new(blob, thread("layer-blob"))?;
                let crc = crc32fast::Hasher::new();
                let mut gzip = Box::new(Gzip { lane, encoder: Encoder::new(), crc, length: 0 });
                gzip.pass(&GZIP_HEADER)?;
                Blob::Gzip(gzip)
            }
            Compression::Zstd => {
                let frame = zstd::Encoder::new(blob, ZSTD_LEVEL)?;
                Blob::Zstd(Box::new(Lane::new(frame, thread("layer-blob"))?))
            }
        };
        Ok(Self { diff, blob, tar: 0, inflater: None })
    }

    /// Takes bytes of the tar that are compressed here.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.diff.write(bytes)?;
        self.tar += bytes.len() as u64;
        match &mut self.blob {
            Blob::Gzip(gzip) => {
                gzip.crc.update(bytes);
                gzip.encoder.write(bytes);
                gzip.pass_encoded()
            }
            Blob::Zstd(lane) => lane.write(bytes),
        }
    }

    /// Takes bytes of the tar that come compressed, `limit` at most. Returns how
    /// many they are, and their CRC-32. After an error, what was taken is undefined.
    pub(super) fn splice(
        &mut self,
        raw: &mut dyn Read,
        limit: u64,
        inspect: &mut dyn FnMut(&[u8]),
    ) -> Result<(u64, u32), Flaw> {
        if let Blob::Gzip(gzip) = &mut self.blob {
            gzip.encoder.align();
            gzip.pass_encoded().map_err(Flaw::Pass)?;
        }
        let inflater = self.inflater.get_or_insert_with(|| Box::new(Inflater::new()));
        let mut splice = Splice { diff: &mut self.diff, blob: &mut self.blob, crc: crc32fast::Hasher::new(), inspect };
        let (size, tail) = inflater.inflate(raw, limit, &mut splice)?;
        let crc = splice.crc;
        self.tar += size;
        if let Blob::Gzip(gzip) = &mut self.blob {
            gzip.crc.combine(&crc);
            gzip.encoder.resume(tail);
        }
        Ok((size, crc.finalize()))
    }

    /// How long the blob is at most if it ends after so many `more` bytes of tar: the same
    /// on any machine, however many threads there are.
    pub(super) fn at_most(&self, more: u64) -> u64 {
        match &self.blob {
            Blob::Gzip(gzip) => gzip.length + Encoder::at_most(gzip.encoder.pending() + more) + TRAILER,
            // zstd.h, ZSTD_COMPRESSBOUND: a 256th more than there was, and a little. What
            // its thread has written until now depends on chance.
            Blob::Zstd(_) => self.tar + more + (self.tar + more) / 256 + ZSTD_MARGIN,
        }
    }

    /// Ends both. Returns what hashed the tar, and the blob.
    pub(super) fn finish(self) -> io::Result<(Hasher, sink::Blob)> {
        let diff = self.diff.finish()?;
        let blob = match self.blob {
            Blob::Gzip(mut gzip) => {
                gzip.encoder.finish();
                gzip.pass_encoded()?;
                // RFC 1952, 2.3.1: CRC32, and ISIZE "modulo 2^32"
                gzip.lane.write(&gzip.crc.finalize().to_le_bytes())?;
                gzip.lane.write(&(diff.length() as u32).to_le_bytes())?;
                gzip.lane.finish()?
            }
            Blob::Zstd(lane) => lane.finish()?.finish()?,
        };
        Ok((diff, blob))
    }
}

/// A stream on its way into the tar and the blob.
struct Splice<'a> {
    diff: &'a mut Lane<Hasher>,
    blob: &'a mut Blob,
    crc: crc32fast::Hasher,
    inspect: &'a mut dyn FnMut(&[u8]),
}

impl Taker for Splice<'_> {
    fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.blob {
            Blob::Gzip(gzip) => gzip.pass(bytes),
            Blob::Zstd(_) => Ok(()),
        }
    }

    fn inflated(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        (self.inspect)(bytes);
        self.diff.write(bytes)?;
        match self.blob {
            Blob::Gzip(gzip) => {
                gzip.encoder.pass(bytes);
                Ok(())
            }
            Blob::Zstd(lane) => lane.write(bytes),
        }
    }
}
