//! `dlpack logout`: forgets the credentials for a registry.

use super::context::Context;
use super::error::Failure;

/// Forget the credentials for a registry
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The registry
    #[arg(default_value = "docker.io")]
    registry: String,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let known = context.registries()?.logout(&arguments.registry)?;
    if !context.quiet() {
        let said = if known { "logged out of" } else { "there were no credentials for" };
        eprintln!("{said} {}", arguments.registry);
    }
    Ok(())
}
