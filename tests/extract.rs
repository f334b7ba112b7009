//! Layers become directories, and whatever a tar says, nothing outside of its root is
//! touched; what one uid can't give stands in the record.

mod changes;
mod escapes;
mod tars;
mod trees;
