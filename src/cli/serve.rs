//! `dlpack serve`: the store, or a directory, as a registry on loopback.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::context::Context;
use super::display::show;
use super::error::Failure;
use crate::registry::serve::Server;
use crate::store::Store;

/// Offer the store as a registry on loopback, for tests and for other tools
///
/// Runs until it is interrupted. Reads and writes; anyone on this machine can use
/// it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A directory to serve in place of the store; made if it is not there
    directory: Option<PathBuf>,
    /// The address; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:5000")]
    address: SocketAddr,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let store = match arguments.directory {
        Some(directory) => Store::open(&directory)?,
        None => context.store()?,
    };
    let server = Server::bind(arguments.address, store, Default::default())?;
    // The one line that a script waits for.
    if context.json() {
        show(serde_json::json!({ "address": server.address() }))?;
    } else {
        show(server.address())?;
    }
    std::future::pending::<()>().await;
    Ok(())
}
