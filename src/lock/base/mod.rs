//! The base, resolved: which manifest a platform gets, and what in its layers the
//! recipe's layers amend. Layers are streamed once for each store, and only if the
//! recipe needs to know what is in them.

mod error;
mod image;
mod libc;
mod made;
mod read;
mod rootfs;
mod scan;
mod tree;

use std::path::Path;
use std::sync::Arc;

pub use error::Error;
pub use image::{BaseImage, load};
pub use libc::{GLIBC, Libc};
pub use made::lacks;
pub use rootfs::extracted;
pub use scan::{LayerError, scan};
pub use tree::{FileList, Node, NodeKind};

use super::{BaseFile, FileKind, Lock, LockedBase};
use crate::layer::Attributes;
use crate::oci::{Layout, Platform};
use crate::recipe::{Base, LayerKind, Recipe};
use crate::registry::{Reference, Registries, Source, SourceError};
use crate::sandbox::Host;
use crate::store::Store;

/// The files that an account amends, without a leading slash.
pub const ACCOUNT_FILES: [&str; 4] = ["etc/passwd", "etc/group", "etc/shadow", "etc/gshadow"];

/// What a new home is a copy of.
pub const SKELETON: &str = "etc/skel";

/// What of the base a recipe needs beyond manifest and config.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The account files and the skeleton of a home, in the lock.
    pub accounts: bool,
    /// The list of files, to check paths against.
    pub list: bool,
    /// Which C library it has, for wheels: that lies in the lowest layer.
    pub libc: bool,
}

impl Needs {
    /// What `recipe` needs: accounts if it makes one, the list if a venv takes the
    /// base's own interpreter without the recipe vouching for its path or lies on top of that's packages, or if files
    /// are put where the base may have links; and the C library for any venv.
    pub fn of(recipe: &Recipe) -> Self {
        let any = |needs: fn(&LayerKind) -> bool| recipe.layers.iter().any(|layer| needs(&layer.kind));
        Self {
            accounts: any(|kind| matches!(kind, LayerKind::Account(_))),
            list: any(|kind| match kind {
                LayerKind::Venv(venv) => venv.interpreter.is_none() || venv.user.is_some(),
                LayerKind::Files(_) => true,
                _ => false,
            }),
            libc: any(|kind| matches!(kind, LayerKind::Venv(_))),
        }
    }
}

/// A base, resolved.
#[derive(Debug)]
pub struct Resolved {
    /// What the lock records of it.
    pub locked: LockedBase,
    /// Its manifest and config; none for `scratch`.
    pub image: Option<BaseImage>,
    /// Its files, as far as they were needed: all of them, or those of the lowest layer; empty for
    /// `scratch`.
    pub files: Option<FileList>,
}

/// Where `base` of a recipe in `directory` is read from; nothing for `scratch`. One that
/// is made of packages is read from `store`, where it is made.
///
/// # Errors
/// [`Error::Reference`], [`Error::Source`].
pub fn source(base: &Base, directory: &Path, registries: &Registries, store: &Store) -> Result<Option<Source>, Error> {
    match base {
        Base::Scratch => Ok(None),
        Base::Image(name) => {
            let reference: Reference =
                name.parse().map_err(|source| Error::Reference { name: name.clone(), source })?;
            let repository = registries.repository(&reference).map_err(SourceError::from)?;
            Ok(Some(Source::Registry(Box::new(repository))))
        }
        Base::Layout { path, tag } => {
            let layout = Layout::open(&directory.join(path)).map_err(SourceError::from)?;
            Ok(Some(Source::Layout(layout, tag.clone())))
        }
        Base::Archive(_) => {
            let layout = Layout::open(store.root()).map_err(SourceError::from)?;
            Ok(Some(Source::Layout(layout, None)))
        }
    }
}

/// Makes a base of packages that a lock has the digest of, unless it is there; any other
/// is fetched as it is needed. What is returned stands in place of the lock's: the same files
/// under another digest.
///
/// # Errors
/// [`Error`]; [`Error::MadeOtherwise`] if the packages come to other files here.
pub async fn make(
    lock: &Lock,
    directory: &Path,
    registries: &Registries,
    store: &Store,
    host: &Arc<Host>,
) -> Result<Option<LockedBase>, Error> {
    let Base::Archive(archive) = &lock.recipe.base else { return Ok(None) };
    let http = registries.http();
    made::Making { directory, platform: &lock.platform, http, store, host }.again(archive, &lock.base).await
}

/// Resolves `base` of a recipe in `directory` for `platform`. Manifests, config and
/// listings go into the store, so that a build has them at hand.
///
/// # Errors
/// [`Error`]: nothing of a base that is not as it should be gets into a lock.
pub async fn resolve(
    base: &Base,
    directory: &Path,
    platform: &Platform,
    needs: Needs,
    registries: &Registries,
    store: &Store,
    host: &Arc<Host>,
) -> Result<Resolved, Error> {
    let progress = &host.progress;
    let Some(source) = source(base, directory, registries, store)? else {
        return Ok(Resolved { locked: scratch(), image: None, files: Some(FileList::default()) });
    };
    let (mut locked, image) = match base {
        Base::Archive(archive) => {
            let making = made::Making { directory, platform, http: registries.http(), store, host };
            let locked = making.resolve(archive).await?;
            let image = load(&locked, Some(&source), store).await?.ok_or(Error::NotMade)?;
            (locked, image)
        }
        _ => image::choose(&source, platform, store, progress).await?,
    };
    let mut files = None;
    if needs.accounts || needs.list || needs.libc {
        let layers = if needs.accounts || needs.list { usize::MAX } else { 1 };
        let list = read::files(&source, &image, layers, store, progress).await?;
        if needs.accounts {
            locked.files = account_files(&list)?;
        }
        files = Some(list);
    }
    Ok(Resolved { locked, image: Some(image), files })
}

fn scratch() -> LockedBase {
    LockedBase { index: None, manifest: None, config: None, diff_ids: Vec::new(), archive: None, files: Vec::new() }
}

/// The account files and the skeleton, with their content, by path.
fn account_files(list: &FileList) -> Result<Vec<BaseFile>, Error> {
    let accounts = ACCOUNT_FILES.iter().filter_map(|path| Some(((*path).to_owned(), list.get(path)?)));
    let skeleton = list.under(SKELETON).map(|(path, node)| (format!("{SKELETON}/{path}"), node));
    let files = accounts.chain(skeleton).map(|(path, node)| base_file(path, node)).collect::<Result<Vec<_>, _>>()?;
    let mut files: Vec<BaseFile> = files.into_iter().flatten().collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// A file as the lock has it; nothing for a device or a FIFO.
fn base_file(path: String, node: &Node) -> Result<Option<BaseFile>, Error> {
    let (kind, bytes) = match &node.kind {
        NodeKind::File { content: Some(content), .. } => (FileKind::File, content.as_slice()),
        NodeKind::File { size, content: None } => return Err(Error::NotKept { path, size: *size }),
        NodeKind::Directory => (FileKind::Directory, &[][..]),
        NodeKind::Symlink(target) => (FileKind::Symlink, target.as_bytes()),
        NodeKind::Special => return Ok(None),
    };
    let attributes = Attributes { mode: node.mode, uid: node.uid, gid: node.gid };
    Ok(Some(BaseFile::new(path, kind, attributes, bytes)))
}
