//! Parses the command line, runs the verb, shows the error and its hint.

use std::process::ExitCode;

fn main() -> ExitCode {
    dlpack::cli::main()
}
