//! Whether this machine can do what is asked of it, and what to do where it can't. Nothing is
//! written: not even the store is made.
//!
//! ```text
//! Facts ──▶ Finding ──▶ Remedies
//! what is   what it     what to do on this
//!           means       distribution
//! ```
//!
//! Facts are what files and system calls say, read from under a root directory where that is
//! possible; findings are functions of them; remedies are a table that a person can correct.

pub mod facts;
mod findings;
mod remedies;

pub use facts::{Facts, Manager, Release};
pub use findings::{Finding, Problem, Section, Severity, findings};
pub use remedies::{Error, Remedies};
