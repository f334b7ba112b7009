//! `dlpack rm`: containers that were kept are no more.

use super::context::Context;
use super::error::Failure;
use crate::run::{Containers, Name};

/// Remove containers that were kept, with all that they have written
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Remove one of another machine, too, that has not said that it ended: the machine is gone
    #[arg(short, long)]
    force: bool,
    /// The containers
    #[arg(required = true, value_name = "NAME")]
    names: Vec<Name>,
}

pub fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let containers = Containers::of(&context.store()?);
    // all of them are found before the first is removed
    arguments.names.iter().try_for_each(|name| containers.look_up(name).map(drop))?;
    Ok(arguments.names.iter().try_for_each(|name| containers.remove(name, arguments.force))?)
}
