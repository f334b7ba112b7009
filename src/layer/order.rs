//! Which paths a layer takes, and in what order.

use super::Error;

/// Sees that a layer's entries are sorted, that no path stands twice, and that
/// nothing lies under a file.
#[derive(Default)]
pub(super) struct Order {
    last: String,
    /// The entries, other than directories, that the last path begins with.
    files: Vec<String>,
}

impl Order {
    /// Takes the next path in.
    pub(super) fn take(&mut self, path: &str, is_directory: bool) -> Result<(), Error> {
        if !is_plain_path(path) {
            return Err(Error::Path { path: path.to_owned() });
        }
        if path <= self.last.as_str() {
            return Err(Error::Order { path: path.to_owned(), after: self.last.clone() });
        }
        // Between `a` and `a/b` may come `a-b`. But in byte order all paths that begin
        // with `a` stand together, so what the path does not begin with is over.
        while self.files.last().is_some_and(|file| !path.starts_with(file.as_str())) {
            self.files.pop();
        }
        if let Some(file) = self.files.iter().find(|file| path.as_bytes().get(file.len()) == Some(&b'/')) {
            return Err(Error::Parent { path: path.to_owned(), file: file.clone() });
        }
        if !is_directory {
            self.files.push(path.to_owned());
        }
        path.clone_into(&mut self.last);
        Ok(())
    }

    /// The last path that was taken.
    pub(super) fn last(&self) -> &str {
        &self.last
    }
}

/// Whether a layer can have `path`.
pub(super) fn is_plain_path(path: &str) -> bool {
    path.split('/').all(is_plain)
}

// layer.md: "Files with the .wh. prefix are special whiteout tombstones": what an
// input calls so would delete a file of the layers below.
fn is_plain(part: &str) -> bool {
    !part.is_empty() && part != "." && part != ".." && !part.contains('\0') && !part.starts_with(".wh.")
}
