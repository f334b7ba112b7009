//! What an extracted tree has.
