//! The writer of a layer. Consumed by [`LayerWriter::complete`]: a half-written
//! layer has no name.

use std::io::{self, Read, Write};

use flate2::write::GzEncoder;

use super::{Attributes, Compression, Error, Layer};
use crate::oci::{Descriptor, DiffId, Hasher, media_type};
use crate::store::{Area, BlobWriter, Store};

/// Writes one layer into a store. Paths are relative to the root, separated by
/// `/`, without a slash at either end, and come in byte order, each once. Only
/// the directories that the layer owns are named: a directory entry replaces the
/// attributes of the base's directory.
pub struct LayerWriter {
    tar: tar::Builder<Tee>,
    store: Store,
    mtime: u64,
    last: String,
}

struct Tee {
    diff: Hasher,
    blob: GzEncoder<BlobWriter>,
}

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.blob.write(bytes)?;
        self.diff.update(&bytes[..n]);
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.blob.flush()
    }
}

impl LayerWriter {
    /// Begins a layer whose entries all have `mtime` (seconds since 1970).
    ///
    /// # Errors
    /// [`Error::Store`] if the store can't be written.
    pub fn new(store: &Store, _compression: Compression, mtime: u64) -> Result<Self, Error> {
        let blob = GzEncoder::new(store.writer()?, flate2::Compression::new(6));
        Ok(Self {
            tar: tar::Builder::new(Tee { diff: Hasher::new(), blob }),
            store: store.clone(),
            mtime,
            last: String::new(),
        })
    }

    fn begin(&mut self, path: &str) -> Result<(), Error> {
        let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
        if !path.split('/').all(plain) {
            return Err(Error::Path { path: path.to_owned() });
        }
        if path <= self.last.as_str() {
            return Err(Error::Order { path: path.to_owned(), after: self.last.clone() });
        }
        path.clone_into(&mut self.last);
        Ok(())
    }

    fn header(&self, kind: tar::EntryType, size: u64, attributes: Attributes) -> tar::Header {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(attributes.mode);
        header.set_uid(attributes.uid.into());
        header.set_gid(attributes.gid.into());
        header.set_mtime(self.mtime);
        header
    }

    /// A directory that this layer owns.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::Order`], [`Error::Io`].
    pub fn directory(&mut self, path: &str, attributes: Attributes) -> Result<(), Error> {
        self.begin(path)?;
        let mut header = self.header(tar::EntryType::Directory, 0, attributes);
        self.tar
            .append_data(&mut header, format!("{path}/"), io::empty())
            .map_err(|source| Error::Io { path: path.into(), source })
    }

    /// A file whose content is at hand.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::Order`], [`Error::Io`].
    pub fn file(&mut self, path: &str, attributes: Attributes, content: &[u8]) -> Result<(), Error> {
        self.stream(path, attributes, content.len() as u64, content)
    }

    /// A file of `size` bytes that is read as it is written.
    ///
    /// # Errors
    /// [`Error::Content`] if `content` has another length; [`Error::Path`],
    /// [`Error::Order`], [`Error::Io`].
    pub fn stream(&mut self, path: &str, attributes: Attributes, size: u64, content: impl Read) -> Result<(), Error> {
        self.begin(path)?;
        let mut header = self.header(tar::EntryType::Regular, size, attributes);
        self.tar
            .append_data(&mut header, path, content.take(size))
            .map_err(|source| Error::Io { path: path.into(), source })
    }

    /// A file that comes as a raw deflate stream (RFC 1951), such as a zip entry:
    /// its compressed bytes become part of the blob as they are. `size` and `crc`
    /// are those of the inflated content. `inspect` sees the inflated bytes, in
    /// order, for hashes that the caller must check.
    ///
    /// # Errors
    /// [`Error::Content`] if the stream is damaged or inflates to something else;
    /// [`Error::Path`], [`Error::Order`], [`Error::Io`].
    pub fn deflated(
        &mut self,
        path: &str,
        attributes: Attributes,
        size: u64,
        crc: u32,
        raw: impl Read,
        inspect: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Error> {
        let mut content = Vec::new();
        flate2::read::DeflateDecoder::new(raw)
            .take(size + 1)
            .read_to_end(&mut content)
            .map_err(|source| Error::Io { path: path.into(), source })?;
        if content.len() as u64 != size || crc32fast::hash(&content) != crc {
            return Err(Error::Content { path: path.into(), what: "another length or CRC-32".into() });
        }
        inspect(&content);
        self.file(path, attributes, &content)
    }

    /// A symbolic link. `target` is written as it is.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::Order`], [`Error::Io`].
    pub fn symlink(&mut self, path: &str, attributes: Attributes, target: &str) -> Result<(), Error> {
        self.begin(path)?;
        let mut header = self.header(tar::EntryType::Symlink, 0, attributes);
        self.tar.append_link(&mut header, path, target).map_err(|source| Error::Io { path: path.into(), source })
    }

    /// Ends the layer and gives its blob a name in the store.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Store`]; nothing is then left behind.
    pub fn complete(self) -> Result<Layer, Error> {
        let at_end = |source| Error::Io { path: String::new(), source };
        let tee = self.tar.into_inner().map_err(at_end)?;
        let (diff_id, unpacked) = tee.diff.finish();
        let blob = tee.blob.finish().map_err(at_end)?;
        let (digest, size) = self.store.keep(Area::Blobs, blob)?;
        Ok(Layer {
            descriptor: Descriptor::new(media_type::LAYER_GZIP, digest, size),
            diff_id: DiffId(diff_id),
            unpacked,
        })
    }
}
