//! dlpack on the command line.
fn main() {}
