//! Whether a registry answers, and whether it takes the credentials that there are.

use reqwest::Method;

use super::client::Call;
use super::token::Scope;
use super::{Error, Registries, RequestKind};

impl Registries {
    /// Asks `registry` (`host` or `host:port`) as distribution-spec "Determining Support" has
    /// it, `GET /v2/`. Returns whether it took credentials: false if there are none, and it
    /// asks for none. May run a credential helper.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] if it asks for credentials and there are none, or not the right
    /// ones; those of any request.
    pub async fn check(&self, registry: &str) -> Result<bool, Error> {
        let place = self.place(registry)?;
        let site = self.client.site(&place).await?;
        let url = site.base.join("v2/").map_err(|_| Error::Address { name: registry.to_owned() })?;
        self.client.send(&place, &Call::new(RequestKind::Greet, Method::GET, url, Scope::default())).await?;
        Ok(site.asks() && self.client.credential(&site, &place).await?.is_some())
    }
}
