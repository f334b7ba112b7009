//! Ports of this machine that lead into a container with a network of its own: dlpack listens
//! on them, and each connection is handed into the container as it is made.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use super::Error;
use crate::recipe::Port;
use crate::sandbox::Door;

/// Ports that this machine listens on.
#[derive(Default)]
pub struct Ports(Vec<(TcpListener, u16)>);

impl Ports {
    /// Listens on all of `ports`.
    ///
    /// # Errors
    /// [`Error::Port`], the first one.
    pub fn listen(ports: &[Port]) -> Result<Self, Error> {
        let bind = |port: &Port| {
            let listener = TcpListener::bind(port.on).map_err(|source| Error::Port { on: port.on, source })?;
            Ok((listener, port.to))
        };
        Ok(Self(ports.iter().map(bind).collect::<Result<_, Error>>()?))
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that there are, with the number that the system chose for 0.
    pub fn open(&self) -> Vec<Port> {
        let port = |(listener, to): &(TcpListener, u16)| Some(Port { on: listener.local_addr().ok()?, to: *to });
        self.0.iter().filter_map(port).collect()
    }

    /// Hands connections in by `door`, until this process ends.
    ///
    /// # Errors
    /// Where there is no room for a thread.
    pub(super) fn lead(self, door: &Arc<Door>) -> io::Result<()> {
        for (listener, to) in self.0 {
            let door = Arc::clone(door);
            std::thread::Builder::new().name(format!("port {to}")).spawn(move || {
                for connection in listener.incoming().flatten() {
                    // a container that ends takes no more
                    let _ = door.connect(to, connection);
                }
            })?;
        }
        Ok(())
    }
}
