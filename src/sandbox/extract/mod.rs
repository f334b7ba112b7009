//! Layers become directories in the store: a base's flattened into one, a sandboxed
//! layer's in overlayfs's form. Whatever a tar says, nothing outside is touched.
//!
//! ```text
//! STORE/rootfs/sha256/CHAINID/      STORE/overlays/sha256/CHAINID/
//!   root/     the files               root/     whiteouts are char 0/0, opaque an xattr
//!   owners    those of links and FIFOs, by path (see `record`)
//! ```
//!
//! All is made under a descriptor of its root by openat2(2) with `RESOLVE_IN_ROOT`, so that
//! no name is resolved twice and no link leads out. Modes are the tar's, set-user-ID
//! included: the directory above lets nobody but its owner in.

pub(crate) mod apply;
mod error;
mod finish;
mod hide;
mod kinds;
pub(crate) mod names;
mod root;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

pub use error::ExtractError;
use root::Root;

use crate::layer::read;
use crate::oci::{ChainId, Descriptor, DiffId, Digest};
use crate::store::{Area, Checksums, Store, Tree, TreeContent, TreeWriter};

/// The directory of a tree that has the files.
const ROOT: &str = "root";
/// Where what a layer replaces waits until the layer is through, so that no inode number
/// comes a second time before.
const TRASH: &str = "trash";

/// The directory of the base `chain`, if it has been extracted and is as it was then; counts as
/// its use.
pub fn find(store: &Store, chain: &ChainId) -> Option<PathBuf> {
    Some(store.tree(Tree::Flattened, &chain.0)?.join(ROOT))
}

/// The directory of the layer with which `chain` ends, if it has been extracted by itself;
/// counts as its use.
pub fn find_layer(store: &Store, chain: &ChainId) -> Option<PathBuf> {
    Some(store.tree(Tree::Overlay, &chain.0)?.join(ROOT))
}

/// Extracts the layers of a base, lowest first, whose blobs are in the store, into one
/// directory, and returns it. What was extracted before is used again. Without layers it
/// is empty. The caller holds a lease.
///
/// # Errors
/// [`ExtractError`]; nothing is then left behind.
pub fn base(store: &Store, layers: &[(Descriptor, DiffId)]) -> Result<PathBuf, ExtractError> {
    let diff_ids: Vec<DiffId> = layers.iter().map(|(_, diff_id)| *diff_id).collect();
    let chain = ChainId::of(&diff_ids).unwrap_or(ChainId(Digest::of(b"")));
    made_once(store, Tree::Flattened, chain, |writer| {
        let mut root = Root::create(writer.path())?;
        for (layer, diff_id) in layers {
            apply(store, layer, *diff_id, &mut root)?;
        }
        root.finish(writer.path())
    })
}

/// Extracts one of our layers, whose blob is in the store, into a directory of its own in
/// overlayfs's form, to lie over the directories `lower`, lowest first, whose ChainId is
/// `under`. The caller holds a lease.
///
/// # Errors
/// [`ExtractError`]; nothing is then left behind.
pub fn layer(
    store: &Store,
    layer: &Descriptor,
    diff_id: DiffId,
    under: Option<ChainId>,
    lower: &[PathBuf],
) -> Result<PathBuf, ExtractError> {
    made_once(store, Tree::Overlay, ChainId::on(under, &diff_id), |writer| {
        let mut root = Root::create_over(writer.path(), lower)?;
        apply(store, layer, diff_id, &mut root)?;
        root.finish(writer.path())
    })
}

fn made_once(
    store: &Store,
    tree: Tree,
    chain: ChainId,
    make: impl FnOnce(&TreeWriter) -> Result<(TreeContent, Checksums), ExtractError>,
) -> Result<PathBuf, ExtractError> {
    if let Some(path) = store.tree(tree, &chain.0) {
        return Ok(path.join(ROOT));
    }
    let writer = store.tree_writer(tree, &chain.0)?;
    // Whoever was waited for may have made it.
    if let Some(path) = store.tree(tree, &chain.0) {
        return Ok(path.join(ROOT));
    }
    let root = writer.path().join(ROOT);
    DirBuilder::new().mode(0o700).create(&root).map_err(ExtractError::io("create", &root))?;
    let (content, sums) = make(&writer)?;
    Ok(writer.keep(content, &sums)?.join(ROOT))
}

fn apply(store: &Store, layer: &Descriptor, diff_id: DiffId, root: &mut Root) -> Result<(), ExtractError> {
    let Some(mut blob) = store.open_blob(Area::Blobs, &layer.digest)? else {
        return Err(ExtractError::Missing { layer: layer.digest });
    };
    root.begin_layer()?;
    let applied = read::walk(layer, diff_id, &mut blob, |archive| apply::apply(layer.digest, archive, root));
    root.end_layer()?;
    applied.map_err(|error| {
        // If the blob's own bytes are damaged, that is the reason; it is gone then, and is fetched again.
        let _ = io::copy(&mut blob, &mut io::sink());
        match blob.is_damaged() {
            true => blob.explain(io::ErrorKind::InvalidData.into()).into(),
            false => error,
        }
    })
}

/// The file beside an extracted `root` that has the owners by path.
pub(super) fn owners_beside(root: &Path) -> PathBuf {
    root.with_file_name("owners")
}
