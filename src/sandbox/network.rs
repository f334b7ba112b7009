//! What a step gets of this machine's network: resolv.conf(5), the proxies' variables, and the
//! certificates that this machine trusts; hosts(5) comes later, with the step's own name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::spec::Task;
use super::{Mount, MountKind, Network, Step};

/// Where a step on the network finds the certificates that `SSL_CERT_FILE` of this
/// machine names, if it names any: in /dev, which is no layer's.
pub const CA_BUNDLE: &str = "/dev/dlpack/ca-certificates.crt";

/// The variables by which programs are told of certificates: OpenSSL, requests, curl,
/// pip, git, Node.js, the AWS tools.
const CA_VARIABLES: [&str; 7] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "AWS_CA_BUNDLE",
];

/// The variables by which programs are told of proxies, as curl(1) has them; in capitals
/// too.
const PROXY_VARIABLES: [&str; 5] = ["http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"];

/// This machine's file that says where names lead.
const RESOLVER: &str = "/etc/resolv.conf";

/// `step` with what this machine, whose environment is `machine`, adds to it.
pub(super) fn task(step: &Step, machine: impl Fn(&str) -> Option<String>) -> Task {
    let Step { command, mut env, workdir, user, network, mut mounts, links, binds, machine: room } = step.clone();
    if network == Network::Host {
        add_proxies(&mut env, &machine);
        if Path::new(RESOLVER).is_file() && !mounts.iter().any(|mount| mount.covers(RESOLVER)) {
            mounts.push(read_only(RESOLVER.into(), RESOLVER));
        }
        let bundle = machine("SSL_CERT_FILE").map(PathBuf::from).and_then(|path| path.canonicalize().ok());
        if let Some(bundle) = bundle.filter(|path| path.is_file()) {
            for name in CA_VARIABLES {
                env.entry(name.to_owned()).or_insert_with(|| CA_BUNDLE.to_owned());
            }
            mounts.push(read_only(bundle, CA_BUNDLE));
        }
    }
    Task { command, env, workdir, user, network, mounts, links, binds, machine: room, interactive: false }
}

fn add_proxies(env: &mut BTreeMap<String, String>, machine: impl Fn(&str) -> Option<String>) {
    for name in PROXY_VARIABLES {
        for name in [name.to_owned(), name.to_uppercase()] {
            if let Some(value) = machine(&name) {
                env.entry(name).or_insert(value);
            }
        }
    }
}

fn read_only(from: PathBuf, to: &str) -> Mount {
    Mount { from, to: to.to_owned(), kind: MountKind::ReadOnly }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_step_on_the_network_is_told_of_it() {
        let bundle = tempfile::NamedTempFile::new().unwrap();
        let machine = |name: &str| match name {
            "http_proxy" | "NO_PROXY" => Some(format!("{name} of the machine")),
            "SSL_CERT_FILE" => Some(bundle.path().display().to_string()),
            _ => None,
        };
        let step = Step::new(["true"]).env("CURL_CA_BUNDLE", "/own").env("NO_PROXY", "own");
        let alone = task(&step, machine);
        assert_eq!((alone.env, alone.mounts.len()), (step.env.clone(), 0));
        let told = task(&step.on_network(), machine);
        assert_eq!(told.env["http_proxy"], "http_proxy of the machine");
        assert_eq!((&*told.env["NO_PROXY"], &*told.env["CURL_CA_BUNDLE"]), ("own", "/own"));
        assert_eq!(told.env["REQUESTS_CA_BUNDLE"], CA_BUNDLE);
        assert!(told.mounts.iter().any(|mount| mount.to == CA_BUNDLE && mount.kind == MountKind::ReadOnly));
    }
}
