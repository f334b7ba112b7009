//! `dlpack shell`: a shell in an image.

use std::process::ExitCode;

use super::container::{self, Options, What};
use super::context::Context;
use super::error::Failure;
use crate::run::Wanted;

/// Open a shell in an image: the recipe's, one of a registry, or one on disk
///
/// bash, or sh where there is none, as the image's user, or as root with --root. It is
/// `run` otherwise: nothing that it writes is kept but what it writes into mounts.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: Options,
    /// An image's name, or oci:DIRECTORY[:TAG] [default: the recipe's image]
    #[arg(value_name = "IMAGE")]
    what: Option<String>,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<ExitCode, Failure> {
    let what = What::of(arguments.what.as_deref())?;
    container::run(context, what, &arguments.options, &Wanted::Shell).await
}
