//! Logging in and out: credentials are tried before they are kept.

use reqwest::Method;

use super::auth::{Credential, Credentials, Secret};
use super::client::Call;
use super::token::Scope;
use super::{Error, Registries, RequestKind};

impl Registries {
    /// Asks `registry` (`host` or `host:port`) whether it accepts a user and a
    /// password, and then keeps them where Docker would: in its credential helper,
    /// else in its `config.json`.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] if it doesn't, and nothing is kept;
    /// [`Error::Config`], [`Error::Helper`] if they can't be kept; those of any request.
    pub async fn login(&self, registry: &str, username: &str, password: Secret) -> Result<(), Error> {
        let place = self.place(registry)?;
        let credential = Credential::Basic { username: username.to_owned(), password: password.clone() };
        let client = self.client_with(Credentials::only(&place.host, credential));
        let site = client.site(&place).await?;
        let url = site.base.join("v2/").map_err(|_| Error::Address { name: registry.to_owned() })?;
        client.send(&place, &Call::new(RequestKind::Greet, Method::GET, url, Scope::default())).await?;
        let (credentials, host, username) = (self.credentials.clone(), place.host.clone(), username.to_owned());
        let stored = tokio::task::spawn_blocking(move || credentials.store(&host, &username, &password)).await;
        stored.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
    }

    /// Forgets the credentials of `registry`, wherever they are kept. Returns
    /// whether there were any. May run a credential helper.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::CredentialsSyntax`], [`Error::Helper`].
    pub fn logout(&self, registry: &str) -> Result<bool, Error> {
        self.credentials.forget(&self.place(registry)?.host)
    }
}
