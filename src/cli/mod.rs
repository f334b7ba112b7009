//! The command line: what a person types, and what a person is shown.

pub mod error;
