//! Debian archives and packages (Debian policy, `deb(5)`, `sources.list(5)`).

pub mod fetch;
