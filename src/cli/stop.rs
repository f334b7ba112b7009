//! `dlpack stop`: the end of containers that run.

use std::sync::Arc;

use super::blocking;
use super::context::Context;
use super::error::{ExitKind, Failure};
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
    // one that is not there keeps none from ending: it is told of when the others have
    let stopping = arguments.names.into_iter().map(|name| {
        let (containers, seconds) = (Arc::clone(&containers), arguments.time);
        blocking(move || {
            let stopped = sandbox::stop(&run::connect(&containers.find(&name)?)?, seconds);
            stopped.map_err(|source| run::Error::Owner { name: name.to_string(), source })?;
            Ok(containers.await_end(&name)?)
        })
    });
    let mut outcome: Result<(), Failure> = Ok(());
    for stopped in stopping.map(tokio::spawn).collect::<Vec<_>>() {
        let stopped = stopped.await.unwrap_or_else(|ended| Err(Failure::new(ExitKind::Other, ended)));
        if let (Err(earlier), Err(_)) = (&outcome, &stopped) {
            context.progress().warn(earlier.in_one_line());
        }
        outcome = stopped.and(outcome);
    }
    outcome
}

fn seconds(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "that is no number of seconds".to_owned())
}
