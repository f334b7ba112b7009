//! A container: an image's layers under an overlay, what a person gives to it, and the
//! command that it is there for.
//!
//! ```text
//! image ─trees─▶ Rootfs ─┐
//! recipe's [run] ─┐      ├─▶ Container ─attach─▶ how the command ended
//! command line ───┴─▶ Settings
//! ```
//!
//! While it runs, its dlpack listens for others of the same user: [`Containers`] has which
//! there are, and [`connect`] calls one.
//!
//! Root in a container is emulated, as for a build's steps: it gives files away, and
//! installs packages. Any other user is the caller by another number, by the kernel alone:
//! nothing stands between a program and its system calls.

mod command;
mod container;
mod devices;
mod environment;
mod error;
mod loader;
mod name;
mod owner;
mod ports;
mod settings;
mod state;
mod streams;
mod test;
mod trees;

pub use command::Wanted;
pub use container::Container;
pub use devices::Devices;
pub use environment::read_file;
pub use error::Error;
pub use name::Name;
pub use owner::connect;
pub use ports::Ports;
pub use settings::Settings;
pub use state::{Claim, Containers, Found, Listed, Record};
pub use streams::exec;
pub use test::{Error as TestError, test};
pub use trees::{Layers, trees};
