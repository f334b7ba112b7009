//! A layer that would be longer than one may be goes on in another: where it is cut, and
//! what the next part begins with.

use super::Layer;

/// The parts of a layer.
#[derive(Default)]
pub(super) struct Parts {
    /// How long the blob of one may be, in bytes; nothing if there is one, whatever its length.
    pub(super) ceiling: Option<u64>,
    /// Those that are finished, lowest first.
    pub(super) finished: Vec<Layer>,
    /// The first path of the current one; nothing if it has none yet.
    first: Option<String>,
    /// The directories that the last path begins with, by name and headers.
    directories: Vec<(String, Vec<u8>)>,
}

impl Parts {
    /// Parts of at most `ceiling` bytes.
    pub(super) fn of(ceiling: u64) -> Self {
        Self { ceiling: Some(ceiling), ..Self::default() }
    }

    /// Whether the current one has entries and must not become as long as `length`, in bytes.
    pub(super) fn is_full_at(&self, length: u64) -> bool {
        self.first.is_some() && self.ceiling.is_some_and(|ceiling| length > ceiling)
    }

    /// Takes note of the entry at `path`, and of its `header` if it is a directory.
    pub(super) fn take(&mut self, path: &str, directory: Option<&[u8]>) {
        if self.ceiling.is_none() {
            return;
        }
        self.first.get_or_insert_with(|| path.to_owned());
        self.leave_for(path);
        self.directories.extend(directory.map(|header| (path.to_owned(), header.to_owned())));
    }

    /// Whether `path`, which the layer has, lies in the current part.
    pub(super) fn has(&self, path: &str) -> bool {
        self.ceiling.is_none() || self.first.as_deref().is_some_and(|first| first <= path)
    }

    /// Ends the current one, and begins that which has `path` first. Returns what comes
    /// before: the directories of this layer that `path` or paths after it lie in, once more.
    /// Some runtimes unpack each layer by itself, and would make up their attributes.
    pub(super) fn next(&mut self, finished: Layer, path: &str) -> Vec<u8> {
        self.finished.push(finished);
        self.first = None;
        self.leave_for(path);
        self.directories.iter().flat_map(|(_, header)| header.clone()).collect()
    }

    /// Between `a` and `a/b` may come `a-b`: what `path` does not begin with is over.
    fn leave_for(&mut self, path: &str) {
        while self.directories.last().is_some_and(|(directory, _)| !path.starts_with(directory.as_str())) {
            self.directories.pop();
        }
    }
}
