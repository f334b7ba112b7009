//! A base from a Debian archive.
