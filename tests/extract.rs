//! Layers become a root filesystem, and nothing leaves it.
