//! Layers of Debian packages.
