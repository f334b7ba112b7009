//! What verbs that send layers to a registry have in common.

use std::path::PathBuf;

/// How layers are sent.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The most of a layer that goes in one request, for a proxy that takes no more [default: 32 MiB]
    #[arg(long, value_name = "SIZE", value_parser = super::amounts::size)]
    pub max_chunk: Option<u64>,
    /// A directory to note uploads down in, for another machine to go on with them [default: the store]
    #[arg(long, value_name = "DIR", env = "DLPACK_JOURNAL")]
    pub journal: Option<PathBuf>,
}
