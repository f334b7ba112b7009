//! The embedded registry: the store, offered on loopback as the distribution-spec
//! says. With faults put in, the same code is the tests' fake registry.

mod answer;
mod auth;
mod blobs;
mod faults;
mod handle;
mod manifests;
mod repositories;
mod route;
mod server;
mod spoiled;
mod uploads;

use std::io;
use std::net::SocketAddr;

use hyper::{HeaderMap, Method};
use thiserror::Error;

pub use auth::{Auth, Tokens};
pub use faults::{Fault, Faults, What};
use handle::{Registry, blocking};
pub use server::Server;

/// Why a registry can't be started.
#[derive(Debug, Error)]
pub enum Error {
    /// An address that other machines can reach.
    #[error("{address} is not on loopback")]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// The address is taken, or can't be listened on.
    #[error("can't listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotLoopback { address } => Some(format!(
                "`serve` has no access control: listen on 127.0.0.1:{} and let a reverse proxy face the network",
                address.port()
            )),
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                Some("port 0 takes any that is free".into())
            }
            Self::Listen { .. } => None,
        }
    }
}

/// What the registry can do beyond pull and push. Real ones lack one or the other.
#[derive(Clone, Copy, Debug)]
pub struct Features {
    /// Mounting a blob of another repository; else a session is begun.
    pub mount: bool,
    /// Uploads in chunks (PATCH).
    pub chunked: bool,
    /// A blob in the POST that begins its upload; else a session is begun.
    pub single_post: bool,
    /// Ranges of a blob; else the whole blob comes.
    pub range: bool,
    /// The referrers API.
    pub referrers: bool,
    /// Saying where an upload stands.
    pub upload_status: bool,
    /// The shortest chunk but the last, in bytes, which is announced and demanded; 0
    /// for none.
    pub chunk_minimum: u64,
    /// The longest body that a request of an upload may have, in bytes.
    pub body_maximum: u64,
    /// What is left of a request of an upload that breaks off.
    pub remains: Remains,
}

/// What is left of a request of an upload that breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remains {
    /// What came of it.
    Bytes,
    /// Nothing of it, and what requests before it brought: a storage that takes parts,
    /// or a proxy that passes whole requests on.
    Parts,
    /// Nothing of the whole upload: distribution, whose sessions know how much they are
    /// to have.
    Nothing,
}

impl Default for Features {
    fn default() -> Self {
        Self {
            mount: true,
            chunked: true,
            single_post: true,
            range: true,
            referrers: true,
            upload_status: true,
            chunk_minimum: 0,
            body_maximum: u64::MAX,
            remains: Remains::Bytes,
        }
    }
}

/// How a registry behaves.
#[derive(Default)]
pub struct Options {
    /// What it can do.
    pub features: Features,
    /// What requests must bring; nothing lets everybody in.
    pub auth: Option<Auth>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

/// A request that was answered, or broken off.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// GET, HEAD, POST, PATCH, PUT or DELETE.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// The request's headers.
    pub headers: HeaderMap,
    /// How many bytes of its body were read.
    pub received: u64,
    /// The answer's status; nothing if the connection was broken off.
    pub status: Option<u16>,
}
