//! `dlpack completions`: the shell's completion script.

use clap_complete::Shell;

use super::display::show;
use super::error::Failure;

/// Print the completion script of a shell
///
/// For bash: dlpack completions bash > ~/.local/share/bash-completion/completions/dlpack
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The shell
    shell: Shell,
}

pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::command(), "dlpack", &mut script);
    show(String::from_utf8_lossy(&script).trim_end())
}
