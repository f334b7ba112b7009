//! What refers to a manifest (distribution-spec "Listing Referrers").

use reqwest::StatusCode;
use serde::Deserialize;

use super::Error;
use super::repository::Repository;
use crate::oci::{Descriptor, Digest};

/// A manifest that refers to another.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Referrer {
    /// The manifest that refers, with its annotations.
    #[serde(flatten)]
    pub descriptor: Descriptor,
    /// What it is.
    pub artifact_type: Option<String>,
}

/// A list of referrers, as far as it was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Referrers {
    /// What was read of it.
    pub found: Vec<Referrer>,
    /// Whether that is all.
    pub complete: bool,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    manifests: Vec<serde_json::Value>,
}

impl Repository {
    /// What refers to the manifest `subject`, of `artifact_type` if one is given; from
    /// an index under a tag where the registry has no list.
    ///
    /// # Errors
    /// As [`Repository::tags`], but that a registry without referrers has none.
    pub async fn referrers(&self, subject: &Digest, artifact_type: Option<&str>) -> Result<Vec<Referrer>, Error> {
        match self.listed_referrers(subject, artifact_type, usize::MAX).await? {
            Some(listed) => Ok(listed.found),
            None => self.tagged_referrers(subject, artifact_type).await,
        }
    }

    /// The first `pages` pages of the registry's own list; nothing where the registry
    /// keeps none. Entries that are not of the form that the specification gives them are
    /// left out. A list too long to be read counts as one of which nothing was read.
    ///
    /// # Errors
    /// Those of any request.
    pub async fn listed_referrers(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
        pages: usize,
    ) -> Result<Option<Referrers>, Error> {
        let mut tail = format!("referrers/{subject}");
        if let Some(wanted) = artifact_type {
            let query =
                url::form_urlencoded::Serializer::new(String::new()).append_pair("artifactType", wanted).finish();
            tail += &format!("?{query}");
        }
        match self.pages::<Page>(&tail, pages).await {
            Ok((pages, rest)) => {
                let manifests = pages.into_iter().flat_map(|page| page.manifests);
                Ok(Some(Referrers { found: of_type(manifests, artifact_type), complete: rest.is_none() }))
            }
            Err(Error::TooLarge { .. }) => Ok(Some(Referrers::default())),
            Err(Error::NotFound { .. }) => Ok(None),
            // what a registry says that does not know the end-point
            Err(Error::Refused { status: StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes the manifests `gone`, which were removed, out of the index that stands for the list of
    /// what refers to `subject` where the registry keeps none. Where there is no such index,
    /// nothing is done.
    ///
    /// # Errors
    /// Those of [`Repository::own_manifest`] and [`Repository::push_manifest`].
    pub async fn forget_referrers(&self, subject: &Digest, gone: &[Digest]) -> Result<(), Error> {
        // distribution-spec "Deleting Manifests": "Pull the referrers list using the referrers tag schema."
        let tag = tag_of(subject);
        let Some((descriptor, bytes)) = self.own_manifest(&tag).await? else { return Ok(()) };
        // What others wrote into it stays as it is.
        let mut index: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let Some(manifests) = index.get_mut("manifests").and_then(serde_json::Value::as_array_mut) else {
            return Ok(());
        };
        // "Remove the descriptor entry from the array of manifests that references the deleted manifest."
        let before = manifests.len();
        let digest = |entry: &serde_json::Value| entry.get("digest")?.as_str()?.parse::<Digest>().ok();
        manifests.retain(|entry| !digest(entry).is_some_and(|digest| gone.contains(&digest)));
        if manifests.len() < before {
            // "Push the updated referrers list using the same referrers tag schema."
            self.push_manifest(&tag, &descriptor.media_type, index.to_string().as_bytes()).await?;
        }
        Ok(())
    }

    /// distribution-spec "Referrers Tag Schema": an index under the tag `sha256-HEX`.
    async fn tagged_referrers(&self, subject: &Digest, artifact_type: Option<&str>) -> Result<Vec<Referrer>, Error> {
        match self.manifest(&tag_of(subject)).await {
            Ok((_, bytes)) => {
                let index = serde_json::from_slice::<Page>(&bytes).unwrap_or(Page { manifests: Vec::new() });
                Ok(of_type(index.manifests, artifact_type))
            }
            Err(Error::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

/// distribution-spec "Referrers Tag Schema": the digest with a `-` for its `:`.
fn tag_of(subject: &Digest) -> String {
    format!("sha256-{}", subject.hex())
}

/// distribution-spec: a registry MAY leave the filter to its clients.
fn of_type(manifests: impl IntoIterator<Item = serde_json::Value>, artifact_type: Option<&str>) -> Vec<Referrer> {
    let read = manifests.into_iter().filter_map(|entry| serde_json::from_value::<Referrer>(entry).ok());
    read.filter(|referrer| artifact_type.is_none() || referrer.artifact_type.as_deref() == artifact_type).collect()
}
