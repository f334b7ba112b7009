//! Layers of kind `run`.
