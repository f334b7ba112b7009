//! `dlpack stop`: the end of containers that run.

use std::sync::Arc;

use super::blocking;
use super::context::Context;
use super::error::Failure;
use crate::run::{self, Containers, Name};
use crate::sandbox;

/// End containers that run: by the image's stop signal, then by force
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How many seconds a container's command has to end by itself
    #[arg(short, long, value_name = "SECONDS", default_value_t = 10, value_parser = seconds)]
    time: u64,
    /// The containers
    #[arg(required = true, value_name = "NAME")]
    names: Vec<Name>,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let containers = Arc::new(Containers::of(&context.store()?));
    // all of them are found before the first is ended
    let found = arguments.names.iter().map(|name| containers.find(name)).collect::<Result<Vec<_>, _>>()?;
    let called = found.iter().map(run::connect).collect::<Result<Vec<_>, _>>()?;
    let stopping = called.into_iter().zip(found).map(|(connection, listed)| {
        let (containers, seconds) = (Arc::clone(&containers), arguments.time);
        blocking(move || {
            let name = listed.name;
            let stopped = sandbox::stop(&connection, seconds);
            stopped.map_err(|source| run::Error::Owner { name: name.to_string(), source })?;
            Ok(containers.await_end(&name)?)
        })
    });
    for stopped in stopping.map(tokio::spawn).collect::<Vec<_>>() {
        stopped.await.unwrap_or_else(|ended| Err(Failure::new(super::error::ExitKind::Other, ended)))?;
    }
    Ok(())
}

fn seconds(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "that is no number of seconds".to_owned())
}
