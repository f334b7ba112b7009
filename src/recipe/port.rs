//! Ports of this machine that lead to a container's, as docker-run(1) writes them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// A port of this machine that leads to one of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Where this machine listens.
    pub on: SocketAddr,
    /// The port in the container.
    pub to: u16,
}

impl FromStr for Port {
    type Err = String;

    /// docker-run(1), `--publish`: `[ADDRESS:]HOST:CONTAINER`. Without an address it is
    /// loopback: what a container offers is no offer to a whole network.
    fn from_str(text: &str) -> Result<Self, String> {
        let form = || "write HOST:CONTAINER or ADDRESS:HOST:CONTAINER: 8888:8888, 0.0.0.0:8080:80".to_owned();
        let (rest, to) = text.rsplit_once(':').ok_or_else(form)?;
        let (address, port) = match rest.rsplit_once(':') {
            Some((address, port)) => (address.trim_start_matches('[').trim_end_matches(']').parse().ok(), port),
            None => (Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), rest),
        };
        let number = |text: &str| text.parse::<u16>().map_err(|_| form());
        let on = SocketAddr::new(address.ok_or_else(form)?, number(port)?);
        Some(number(to)?).filter(|to| *to > 0).map(|to| Self { on, to }).ok_or_else(form)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.on, self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_docker_has_them_and_are_loopbacks() {
        let read = |text: &str| text.parse::<Port>().map(|port| port.to_string()).ok();
        assert_eq!(read("8888:80").as_deref(), Some("127.0.0.1:8888:80"));
        assert_eq!(read("0.0.0.0:8080:80").as_deref(), Some("0.0.0.0:8080:80"));
        assert_eq!(read("[::1]:0:22").as_deref(), Some("[::1]:0:22"));
        for wrong in ["", "80", ":80", "80:", "80:0", "a:80", "host:80:80", "65536:1", "1:65536", "1:2:3:4:5"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
