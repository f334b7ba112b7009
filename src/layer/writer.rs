//! The writer of a layer. Consumed by [`LayerWriter::complete`]: a half-written
//! layer has no name.

use std::collections::BTreeMap;
use std::io::{self, Read, Write as _};

use super::inflate::Flaw;
use super::order::{self, Order};
use super::output::Output;
use super::parts::Parts;
use super::sink::{Blob, Sink};
use super::tar::{self, Kind};
use super::{Attributes, Compression, Device, Error, Layer, Threads};
use crate::oci::{Descriptor, DiffId, media_type};
use crate::store::Store;

/// How much of a stream's content is read at a time.
const CHUNK: usize = 64 * 1024;

/// Writes one layer into a store, or to wherever a [`Sink`] leads. Paths are relative to the root, separated by
/// `/`, without a slash at either end, and come in byte order, each once. Only
/// the directories that the layer owns are named: a directory entry replaces the
/// attributes of the base's directory.
///
/// After an error from an entry whose header was written, the layer can't be
/// completed; drop the writer, and nothing of it is left in the store.
pub struct LayerWriter {
    /// The store that keeps the blob, if one does.
    store: Option<Store>,
    /// Whether it goes to somebody as it is written.
    streams: bool,
    compression: Compression,
    threads: Threads,
    mtime: u64,
    parts: Parts,
    order: Order,
    /// Those of the next entry.
    xattrs: BTreeMap<String, Vec<u8>>,
    output: Output,
    /// An entry was begun and not ended.
    broken: bool,
}

impl LayerWriter {
    /// Begins a layer whose entries all have `mtime` (seconds since 1970), on as many
    /// threads as are of use here.
    ///
    /// # Errors
    /// [`Error::Store`] if the store can't be written; [`Error::Io`] if no thread can
    /// be started.
    pub fn new(store: &Store, compression: Compression, mtime: u64) -> Result<Self, Error> {
        Self::on(store, compression, mtime, Threads::default())
    }

    /// The same on as many threads as `threads` says. The bytes don't depend on it.
    ///
    /// # Errors
    /// As [`LayerWriter::new`].
    pub fn on(store: &Store, compression: Compression, mtime: u64, threads: Threads) -> Result<Self, Error> {
        Self::to(Sink::Store(store.clone()), compression, mtime, threads)
    }

    /// The same into any sink.
    ///
    /// # Errors
    /// As [`LayerWriter::new`].
    pub fn to(sink: Sink, compression: Compression, mtime: u64, threads: Threads) -> Result<Self, Error> {
        let (store, streams) = (sink.store().cloned(), sink.is_stream());
        let begun = Output::new(Blob::begin(sink)?, compression, threads);
        let output = begun.map_err(|source| Error::Io { path: String::new(), source })?;
        let (parts, order, xattrs) = (Parts::default(), Order::default(), BTreeMap::new());
        Ok(Self { store, streams, compression, threads, mtime, parts, order, xattrs, output, broken: false })
    }

    /// The same layer in parts, each with a blob of at most `ceiling` bytes unless a single
    /// entry has more. Where it is cut is a function of the entries and of `ceiling`. The
    /// directories that the layer owns stand again in a part that has paths below them,
    /// whiteouts in one part alone, and a hard link in that of its file.
    pub fn in_parts_of(self, ceiling: u64) -> Self {
        Self { parts: Parts::of(ceiling), ..self }
    }

    /// The modification time of all entries, in seconds since 1970.
    pub fn mtime(&self) -> u64 {
        self.mtime
    }

    /// A directory that this layer owns.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::Order`], [`Error::Parent`], [`Error::Store`].
    pub fn directory(&mut self, path: &str, attributes: Attributes) -> Result<(), Error> {
        self.begin(path, Kind::Directory, attributes)?;
        self.end(0)
    }

    /// A file whose content is at hand.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::Order`], [`Error::Parent`], [`Error::Store`].
    pub fn file(&mut self, path: &str, attributes: Attributes, content: &[u8]) -> Result<(), Error> {
        self.begin(path, Kind::File(content.len() as u64), attributes)?;
        self.write(content)?;
        self.end(content.len() as u64)
    }

    /// A file of `size` bytes that is read as it is written.
    ///
    /// # Errors
    /// [`Error::Content`] if `content` has another length; [`Error::Io`] if it can't
    /// be read; [`Error::Path`], [`Error::Order`], [`Error::Parent`], [`Error::Store`].
    pub fn stream(
        &mut self,
        path: &str,
        attributes: Attributes,
        size: u64,
        mut content: impl Read,
    ) -> Result<(), Error> {
        self.begin(path, Kind::File(size), attributes)?;
        let mut buffer = vec![0; CHUNK];
        let mut left = size;
        loop {
            let read = match content.read(&mut buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(Error::Io { path: path.into(), source }),
            };
            let differs = |what: String| Err(Error::Content { path: path.into(), what });
            if read == 0 && left > 0 {
                return differs(format!("it has {} bytes, not {size}", size - left));
            }
            if read as u64 > left {
                return differs(format!("it has more than {size} bytes"));
            }
            if read == 0 {
                return self.end(size);
            }
            self.write(&buffer[..read])?;
            left -= read as u64;
        }
    }

    /// A file that comes as a raw deflate stream (RFC 1951), such as a zip entry:
    /// its compressed bytes become part of the blob as they are. `size` and `crc`
    /// are those of the inflated content. `inspect` sees the inflated bytes, in
    /// order, for hashes that the caller must check.
    ///
    /// # Errors
    /// [`Error::Content`] if the stream is damaged, inflates to something else, or has
    /// bytes after its end; [`Error::Io`] if it can't be read; [`Error::Path`],
    /// [`Error::Order`], [`Error::Parent`], [`Error::Store`].
    pub fn deflated(
        &mut self,
        path: &str,
        attributes: Attributes,
        size: u64,
        crc: u32,
        mut raw: impl Read,
        inspect: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Error> {
        self.begin(path, Kind::File(size), attributes)?;
        let differs = |what: String| Error::Content { path: path.into(), what };
        let (found, found_crc) = self.output.splice(&mut raw, size, inspect).map_err(|flaw| match flaw {
            Flaw::Damaged(what) => differs(format!("not a deflate stream: {what}")),
            Flaw::TooLong => differs(format!("it inflates to more than {size} bytes")),
            Flaw::Read(source) => Error::Io { path: path.into(), source },
            Flaw::Pass(source) => self.cannot_write(source),
        })?;
        if found != size {
            return Err(differs(format!("it inflates to {found} bytes, not {size}")));
        }
        if found_crc != crc {
            return Err(differs(format!("its CRC-32 is {found_crc:08x}, not {crc:08x}")));
        }
        self.end(size)
    }

    /// A symbolic link. `target` is written as it is.
    ///
    /// # Errors
    /// [`Error::Path`], also for a target that is empty or has NUL in it;
    /// [`Error::Order`], [`Error::Parent`], [`Error::Store`].
    pub fn symlink(&mut self, path: &str, attributes: Attributes, target: &str) -> Result<(), Error> {
        if target.is_empty() || target.contains('\0') {
            return Err(Error::Path { path: target.to_owned() });
        }
        self.begin(path, Kind::Symlink(target), attributes)?;
        self.end(0)
    }

    /// Another name of `to`, a file that comes before it in the layer. Returns whether it
    /// was written: not if that lies in an earlier part, since some runtimes unpack each
    /// layer by itself. The file's content is to be written again then.
    ///
    /// # Errors
    /// As [`LayerWriter::symlink`]; also [`Error::Parts`].
    pub fn hard_link(&mut self, path: &str, attributes: Attributes, to: &str) -> Result<bool, Error> {
        if to >= path || !order::is_plain_path(to) {
            return Err(Error::Path { path: to.to_owned() });
        }
        self.refuse_unfit()?;
        let header = tar::header(path, Kind::HardLink(to), attributes, &self.xattrs, self.mtime);
        self.make_room(path, header.len() as u64)?;
        if !self.parts.has(to) {
            return Ok(false);
        }
        self.order.take(path, false)?;
        self.enter(path, &header, false)?;
        self.end(0).map(|()| true)
    }

    /// A FIFO.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::Order`], [`Error::Parent`], [`Error::Store`].
    pub fn fifo(&mut self, path: &str, attributes: Attributes) -> Result<(), Error> {
        self.begin(path, Kind::Fifo, attributes)?;
        self.end(0)
    }

    /// A character or block device.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::Order`], [`Error::Parent`], [`Error::Store`].
    pub fn device(&mut self, path: &str, attributes: Attributes, device: Device) -> Result<(), Error> {
        self.begin(path, Kind::Device(device), attributes)?;
        self.end(0)
    }

    /// Takes `path` of the layers below away. In the order of entries it stands where the
    /// path would.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::Order`], [`Error::Parent`], [`Error::Store`].
    pub fn whiteout(&mut self, path: &str) -> Result<(), Error> {
        self.refuse_if_broken()?;
        self.order.take(path, false)?;
        self.make_room(path, 0)?;
        self.parts.take(path, None);
        // layer.md: "Whiteout files MUST be … the basename of the deleted path prefixed with .wh."
        let (parent, name) = path.rsplit_once('/').map_or(("", path), |(parent, name)| (parent, name));
        let slash = if parent.is_empty() { "" } else { "/" };
        self.mark(&format!("{parent}{slash}.wh.{name}"))
    }

    /// A directory that this layer owns, and that hides all that the layers below have in it.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::Order`], [`Error::Parent`], [`Error::Store`].
    pub fn opaque_directory(&mut self, path: &str, attributes: Attributes) -> Result<(), Error> {
        self.directory(path, attributes)?;
        // layer.md: "Opaque whiteout … `.wh..wh..opq`"; "implementations SHOULD generate layers such that
        // the whiteout files appear before sibling directory entries"
        self.mark(&format!("{path}/.wh..wh..opq"))
    }

    /// Gives the next entry extended attributes, as `SCHILY.xattr` records. One whose name
    /// has `=` in it is refused with [`Error::Path`] by that entry.
    pub fn with_xattrs(&mut self, xattrs: &BTreeMap<String, Vec<u8>>) -> &mut Self {
        self.xattrs.clone_from(xattrs);
        self
    }

    /// An empty file whose name says all.
    fn mark(&mut self, path: &str) -> Result<(), Error> {
        self.broken = true;
        self.write(&tar::header(path, Kind::File(0), Attributes::root(0), &BTreeMap::new(), self.mtime))?;
        self.end(0)
    }

    /// Ends the layer. A store gives its blob a name now.
    ///
    /// # Errors
    /// [`Error::Unfinished`] if an entry failed before; [`Error::Store`]; [`Error::Io`] if
    /// nobody took the stream to its end; [`Error::Parts`] if it is in several. No file is
    /// then left behind.
    pub fn complete(self) -> Result<Layer, Error> {
        if !self.parts.finished.is_empty() {
            return Err(Error::Parts { path: self.order.last().to_owned() });
        }
        self.complete_parts().map(|(_, last)| last)
    }

    /// The same for a layer that may be in parts, of which there is at least one: those
    /// before the last, and the last.
    ///
    /// # Errors
    /// As [`LayerWriter::complete`].
    pub fn complete_parts(mut self) -> Result<(Vec<Layer>, Layer), Error> {
        self.refuse_if_broken()?;
        self.write(&tar::END)?;
        let Self { store, order, compression, output, parts, .. } = self;
        Ok((parts.finished, finish(output, compression, store.as_ref(), &order)?))
    }

    /// Ends the part before `path` if the entry there, of `length` bytes of tar, might make
    /// it too long, and begins another.
    fn make_room(&mut self, path: &str, length: u64) -> Result<(), Error> {
        // with the headers of a directory's marker, and what ends an archive
        let more = length + (tar::BLOCK + tar::END.len()) as u64;
        if !self.parts.is_full_at(self.output.at_most(more)) {
            return Ok(());
        }
        let Some(store) = self.store.clone().filter(|_| !self.streams) else {
            return Err(Error::Parts { path: path.to_owned() });
        };
        self.broken = true;
        self.write(&tar::END)?;
        let begun = Output::new(Blob::begin(Sink::Store(store))?, self.compression, self.threads);
        let next = begun.map_err(|source| self.cannot_write(source))?;
        let full = std::mem::replace(&mut self.output, next);
        let finished = finish(full, self.compression, self.store.as_ref(), &self.order)?;
        let directories = self.parts.next(finished, path);
        self.write(&directories)?;
        self.broken = false;
        Ok(())
    }

    fn begin(&mut self, path: &str, kind: Kind<'_>, attributes: Attributes) -> Result<(), Error> {
        self.refuse_unfit()?;
        self.order.take(path, kind == Kind::Directory)?;
        let header = tar::header(path, kind, attributes, &self.xattrs, self.mtime);
        let size = if let Kind::File(size) = kind { size } else { 0 };
        self.make_room(path, header.len() as u64 + size + tar::padding(size) as u64)?;
        self.enter(path, &header, kind == Kind::Directory)
    }

    /// Begins the entry at `path`, whose `header` has the extended attributes.
    fn enter(&mut self, path: &str, header: &[u8], is_directory: bool) -> Result<(), Error> {
        self.xattrs.clear();
        self.broken = true;
        self.parts.take(path, is_directory.then_some(header));
        self.write(header)
    }

    fn end(&mut self, size: u64) -> Result<(), Error> {
        self.write(&[0; tar::BLOCK][..tar::padding(size)])?;
        self.broken = false;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.output.write(bytes).map_err(|source| self.cannot_write(source))
    }

    /// Refuses an entry after one that was not ended, and extended attributes that have no form.
    fn refuse_unfit(&self) -> Result<(), Error> {
        self.refuse_if_broken()?;
        // pax: a keyword ends at its first `=`
        match self.xattrs.keys().find(|name| name.contains(['=', '\0'])) {
            Some(name) => Err(Error::Path { path: name.clone() }),
            None => Ok(()),
        }
    }

    fn refuse_if_broken(&self) -> Result<(), Error> {
        match self.broken {
            true => Err(Error::Unfinished { path: self.order.last().to_owned() }),
            false => Ok(()),
        }
    }

    fn cannot_write(&self, source: io::Error) -> Error {
        cannot_write(self.store.as_ref(), &self.order, source)
    }
}

/// Ends a blob, which has a name then.
fn finish(output: Output, compression: Compression, store: Option<&Store>, order: &Order) -> Result<Layer, Error> {
    let finished = output.finish().and_then(|(diff, mut blob)| blob.flush().map(|()| (diff, blob)));
    let (diff, blob) = finished.map_err(|source| cannot_write(store, order, source))?;
    let (digest, size) = blob.complete()?;
    let (diff_id, unpacked) = diff.finish();
    let media_type = match compression {
        Compression::Gzip => media_type::LAYER_GZIP,
        Compression::Zstd => media_type::LAYER_ZSTD,
    };
    Ok(Layer { descriptor: Descriptor::new(media_type, digest, size), diff_id: DiffId(diff_id), unpacked })
}

/// A file never fails as a pipe does that nobody reads from any more.
fn cannot_write(store: Option<&Store>, order: &Order, source: io::Error) -> Error {
    match store.filter(|_| source.kind() != io::ErrorKind::BrokenPipe) {
        Some(store) => {
            Error::Store(crate::store::Error::Io { doing: "write a blob into", path: store.root().to_owned(), source })
        }
        None => Error::Io { path: order.last().to_owned(), source },
    }
}
