//! Credential helpers: programs named `docker-credential-NAME` that keep secrets
//! elsewhere, spoken to over stdin and stdout as Docker does.

use std::io::Write;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::Error;
use super::auth::{Credential, Secret};

/// What helpers say, with exit status 1, when they have nothing.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// A helper by its program's name.
pub(super) struct Helper {
    program: String,
    search_path: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    #[serde(default, rename = "ServerURL")]
    server_url: std::borrow::Cow<'a, str>,
    username: std::borrow::Cow<'a, str>,
    secret: std::borrow::Cow<'a, str>,
}

impl Helper {
    /// The helper `name`, looked for along `search_path`.
    pub(super) fn new(name: &str, search_path: Option<&str>) -> Self {
        Self { program: format!("docker-credential-{name}"), search_path: search_path.map(str::to_owned) }
    }

    /// What it has for `server`.
    pub(super) fn get(&self, server: &str) -> Result<Option<Credential>, Error> {
        let Some(answer) = self.run("get", server, server.as_bytes())? else { return Ok(None) };
        // The parser's message may quote the secret.
        let entry: Entry<'_> = serde_json::from_slice(&answer)
            .map_err(|_| self.failed("get", server, "its answer is not the JSON of a credential".into()))?;
        Ok(match (&*entry.username, &*entry.secret) {
            (_, "") => None,
            ("<token>", token) => Some(Credential::IdentityToken(Secret::new(token))),
            (username, password) => Some(Credential::basic(username, password)),
        })
    }

    /// Keeps a user and a password for `server`.
    pub(super) fn store(&self, server: &str, username: &str, password: &Secret) -> Result<(), Error> {
        let entry = Entry { server_url: server.into(), username: username.into(), secret: password.expose().into() };
        let input = serde_json::to_vec(&entry).map_err(|error| self.failed("store", server, error.to_string()))?;
        self.run("store", server, &input).map(drop)
    }

    /// Forgets `server`. Returns whether there was something to forget.
    pub(super) fn erase(&self, server: &str) -> Result<bool, Error> {
        Ok(self.get(server)?.is_some() && self.run("erase", server, server.as_bytes())?.is_some())
    }

    /// Runs one action; nothing if the helper has no such entry.
    fn run(&self, action: &'static str, server: &str, input: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let failed = |error: std::io::Error| self.failed(action, server, error.to_string());
        let mut command = Command::new(&self.program);
        if let Some(path) = &self.search_path {
            command.env("PATH", path);
        }
        let piped = command.arg(action).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A helper that doesn't read its input says why by its status.
            let _ = stdin.write_all(input);
        }
        let output = child.wait_with_output().map_err(failed)?;
        if output.status.success() {
            return Ok(Some(output.stdout));
        }
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if said.to_ascii_lowercase().starts_with(NOT_FOUND) {
            return Ok(None);
        }
        // Of `get` stdout may hold a secret even when the status is bad.
        let told = String::from_utf8_lossy(&output.stderr);
        let message = if told.trim().is_empty() && action != "get" { said } else { told.trim().to_owned() };
        let message = if message.is_empty() { output.status.to_string() } else { message };
        Err(self.failed(action, server, message))
    }

    fn failed(&self, action: &'static str, registry: &str, message: String) -> Error {
        let message = message.chars().filter(|c| !c.is_control()).take(300).collect();
        Error::Helper { helper: self.program.clone(), action, registry: registry.to_owned(), message }
    }
}
