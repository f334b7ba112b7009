//! Whether a registry answers, and whether it knows this user.

use std::time::Duration;

use serde::Serialize;

use super::sandbox::with_causes;
use crate::registry::{Error, PullLimit, Reference, Registries};

/// How long a registry may take to answer; a network that drops packets says nothing at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a registry said.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// Its name, as references have it.
    pub registry: String,
    /// Whether somebody asked for it by name.
    pub named: bool,
    /// How it takes this user.
    pub login: Login,
    /// How many pulls it still allows, where it says so.
    pub pull_limit: Option<PullLimit>,
}

/// How a registry takes a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "state", content = "why")]
pub enum Login {
    /// The credentials are good.
    LoggedIn,
    /// It answers those who have no credentials; this user has none.
    Anonymous,
    /// It answers nobody who has none; this user has none.
    Required,
    /// It does not take the credentials that there are.
    Rejected,
    /// It does not answer.
    Unreachable(String),
    /// What is configured for it can't be used.
    Misconfigured(String),
}

/// Asks `registry`, and, with a HEAD that counts as no pull, for the manifest of `image` there.
pub async fn ask(registries: &Registries, registry: &str, image: Option<&Reference>, named: bool) -> Asked {
    let login = match tokio::time::timeout(PATIENCE, registries.check(registry)).await {
        Ok(Ok(true)) => Login::LoggedIn,
        Ok(Ok(false)) => Login::Anonymous,
        Ok(Err(Error::Unauthorized { anonymous: true, .. })) => Login::Required,
        Ok(Err(Error::Unauthorized { .. })) => Login::Rejected,
        Ok(Err(error)) if is_here(&error) => Login::Misconfigured(with_causes(&error)),
        Ok(Err(error)) => Login::Unreachable(first_cause(&error)),
        Err(_) => Login::Unreachable(format!("it did not answer in {} s", PATIENCE.as_secs())),
    };
    if let (Login::LoggedIn | Login::Anonymous, Some(image)) = (&login, image) {
        let wanted = image.digest().or(image.tag()).unwrap_or("latest");
        if let Ok(repository) = registries.repository(image) {
            // what it says of the image is for the build; here its headers count
            let _ = tokio::time::timeout(PATIENCE, repository.has_manifest(wanted)).await;
        }
    }
    let pull_limit = registries.pull_limits().remove(registry);
    Asked { registry: registry.to_owned(), named, login, pull_limit }
}

/// What an error comes from in the end: of a request, what the network said.
fn first_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.last().map(|cause| cause.to_string()).unwrap_or_default()
}

/// Whether it is this machine's own files or programs that are wrong.
fn is_here(error: &Error) -> bool {
    use crate::registry::ErrorKind;
    error.kind() == ErrorKind::Local || matches!(error, Error::Helper { .. } | Error::Realm { .. })
}
