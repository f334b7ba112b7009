//! A base that is made here, of an archive's packages. Once it is made it is an image
//! like any other, whose layers happen to lie in the store; the lock has its digest, and
//! what to make it of again.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::json;
use url::Url;

use super::{Error, LockedBase};
use crate::apt::fetch::{self, Deb};
use crate::apt::made::{self, Extra};
use crate::apt::mirrors::Mirrors;
use crate::apt::proxy::Proxies;
use crate::apt::{self, base, sources};
use crate::layer::{EPOCH, FORMAT};
use crate::lock::{LockedArchive, LockedDeb, LockedInput, LockedSuite, Pin};
use crate::oci::{
    DEFAULT_PATH, Descriptor, DiffId, Digest, History, ImageConfig, Manifest, ManifestOrIndex, Platform, media_type,
    parse_manifest,
};
use crate::recipe::Archive;
use crate::registry::download;
use crate::registry::http::Http;
use crate::sandbox::{Host, Lacks};
use crate::store::{Area, LayerKey, LayerPart, Store};

/// The version of the code that unpacks and configures.
const VERSION: u32 = 1;

/// What a base is made with.
pub(super) struct Making<'a> {
    /// The recipe's directory.
    pub directory: &'a Path,
    pub platform: &'a Platform,
    /// What reaches archives where apt is told of no proxy.
    pub http: &'a Http,
    pub store: &'a Store,
    pub host: &'a Arc<Host>,
}

impl Making<'_> {
    /// Chooses the packages of `archive`, makes a base of them, and pins it.
    pub(super) async fn resolve(&self, archive: &Archive) -> Result<LockedBase, Error> {
        let progress = &self.host.progress;
        let mirror = archive.mirror.as_deref().and_then(|url| Url::parse(url).ok());
        let key = archive.key.as_ref().map(|key| self.directory.join(key));
        let wanted = base::Wanted {
            archive: &archive.archive,
            suite: &archive.suite,
            mirror: mirror.as_ref(),
            components: &archive.components,
            packages: &archive.packages,
            key: key.as_deref(),
            architecture: apt::architecture(self.platform),
        };
        let http = self.client()?;
        let suites = base::suites(&http, &wanted, Path::new(sources::DIRECTORY), SystemTime::now()).await?;
        let chosen = base::packages(&http, &wanted, &suites, self.store, progress).await?;
        let locked = LockedArchive { key: self.key(archive)?, ..locked(&suites, chosen, archive)? };
        let layers = self.layers(archive, &locked).await?;
        let (config, manifest) = image(&layers, self.platform).map_err(Error::Encode)?;
        Ok(LockedBase {
            index: None,
            manifest: Some(self.pin(media_type::MANIFEST, &manifest)?),
            config: Some(self.pin(media_type::CONFIG, &config)?),
            diff_ids: layers.iter().map(|layer| layer.diff_id).collect(),
            archive: Some(locked),
            files: Vec::new(),
        })
    }

    /// Makes the base that `base` has the digest of, unless it is there. If it comes to the same
    /// files under another digest, as another dlpack may compress them, it is returned.
    pub(super) async fn again(&self, archive: &Archive, base: &LockedBase) -> Result<Option<LockedBase>, Error> {
        let (Some(locked), Some(pinned)) = (&base.archive, &base.manifest) else { return Ok(None) };
        if self.is_here(pinned) {
            return Ok(None);
        }
        let layers = self.layers(archive, locked).await?;
        let (config, manifest) = image(&layers, self.platform).map_err(Error::Encode)?;
        let found = Digest::of(&manifest);
        // What lies in an image is told by its DiffIDs; all that is over the base is made for these.
        if !layers.iter().map(|layer| layer.diff_id).eq(base.diff_ids.iter().copied()) {
            return Err(Error::MadeOtherwise { expected: pinned.digest, found });
        }
        let (config, manifest) = (self.pin(media_type::CONFIG, &config)?, self.pin(media_type::MANIFEST, &manifest)?);
        if found == pinned.digest {
            return Ok(None);
        }
        self.host.progress.warn(format!(
            "the base has the locked files, compressed otherwise: its digest is {}, not {}",
            found.short(),
            pinned.digest.short()
        ));
        Ok(Some(LockedBase { manifest: Some(manifest), config: Some(config), ..base.clone() }))
    }

    /// Puts a document of the base's image into the store.
    fn pin(&self, media_type: &str, bytes: &[u8]) -> Result<Pin, Error> {
        let digest = self.store.put(Area::Blobs, bytes)?;
        Ok(Pin { media_type: media_type.to_owned(), digest, size: bytes.len() as u64 })
    }

    /// Whether the store has the manifest and all that it names. One that is damaged is
    /// made again.
    fn is_here(&self, pinned: &Pin) -> bool {
        let manifest = self.store.read(Area::Blobs, &pinned.digest).ok().flatten();
        let Some(Ok(ManifestOrIndex::Manifest(manifest))) =
            manifest.map(|bytes| parse_manifest(&bytes, &pinned.media_type))
        else {
            return false;
        };
        // opened, since that counts as use
        let here = |blob: &Descriptor| matches!(self.store.open_blob(Area::Blobs, &blob.digest), Ok(Some(_)));
        here(&manifest.config) && manifest.layers.iter().all(here)
    }

    /// The recipe's keyring.
    fn key(&self, archive: &Archive) -> Result<Option<LockedInput>, Error> {
        let Some(path) = &archive.key else { return Ok(None) };
        Ok(Some(LockedInput { path: path.clone(), sha256: Digest::of(&self.read_key(path)?) }))
    }

    fn read_key(&self, path: &str) -> Result<Vec<u8>, Error> {
        let path = self.directory.join(path);
        std::fs::read(&path).map_err(|source| sources::Error::Unreadable { path, source }.into())
    }

    /// The layers, lowest first: those that were made of the same before, or new ones.
    async fn layers(&self, archive: &Archive, locked: &LockedArchive) -> Result<Vec<LayerPart>, Error> {
        let extras = self.extras(archive, locked)?;
        let inputs = json!({
            "kind": "base", "version": VERSION, "format": FORMAT,
            "debs": locked.debs.iter().map(|deb| deb.sha256).collect::<Vec<_>>(),
            "files": extras.iter().map(|extra| (&extra.path, Digest::of(&extra.content))).collect::<Vec<_>>(),
        });
        let key = |n: usize| LayerKey(Digest::of(format!("{n} {inputs}").as_bytes()));
        let here =
            |layer: &LayerPart| self.store.size(Area::Blobs, &layer.descriptor.digest) == Some(layer.descriptor.size);
        let known = |lacks: &Lacks| {
            let part = |n: usize| Some(self.store.record(&lacks.key(key(n))).ok()??.first).filter(here);
            Some(vec![part(0)?, part(1)?])
        };
        if let Some(layers) = known(&Lacks::default()) {
            return Ok(layers);
        }
        let as_made_here = lacks(self.host).await.parts().into_iter().find_map(|lacks| Some((known(&lacks)?, lacks)));
        if let Some((layers, lacks)) = as_made_here {
            lacks.iter().for_each(|lacking| self.host.announce(lacking));
            return Ok(layers);
        }
        let debs = self.fetch(locked).await?;
        let (store, host) = (self.store.clone(), Arc::clone(self.host));
        let making = tokio::task::spawn_blocking(move || made::make(&debs, &extras, &store, &host));
        let made = making.await.map_err(|source| Error::Broken { layer: key(0).0, source })??;
        let mut parts = Vec::new();
        for (n, layer) in made.layers.into_iter().enumerate() {
            let part = LayerPart::from(layer);
            self.store.put_record(&made.lacks.key(key(n)), &part.clone().into())?;
            parts.push(part);
        }
        Ok(parts)
    }

    fn client(&self) -> Result<Http, Error> {
        Ok(Proxies::of_this_machine().client(self.http).map_err(download::Error::from)?)
    }

    async fn fetch(&self, locked: &LockedArchive) -> Result<Vec<made::Deb>, Error> {
        let mirrors = Mirrors::of_this_machine()?;
        let wanted = |deb: &LockedDeb| {
            let archive = locked.sources.get(deb.source as usize).map(String::as_str).unwrap_or_default();
            Ok::<_, Error>(Deb { url: mirrors.package(archive, &deb.path)?, sha256: deb.sha256, size: deb.size })
        };
        let wanted = locked.debs.iter().map(wanted).collect::<Result<Vec<_>, _>>()?;
        fetch::debs(&self.client()?, &wanted, self.store, &self.host.progress).await?;
        let deb = |deb: &LockedDeb| made::Deb { name: deb.name.clone(), sha256: deb.sha256 };
        Ok(locked.debs.iter().map(deb).collect())
    }

    /// Where apt in the image finds more: the archive's suites, and its keys.
    fn extras(&self, archive: &Archive, locked: &LockedArchive) -> Result<Vec<Extra>, Error> {
        let name = &archive.archive;
        let mut extras = Vec::new();
        let mut keyring = format!("/usr/share/keyrings/{name}-archive-keyring.gpg");
        if let Some(key) = &locked.key {
            let content = self.read_key(&key.path)?;
            // sources.list(5): ".gpg for binary and .asc for ASCII armored files"
            let suffix = if content.starts_with(b"-----BEGIN") { "asc" } else { "gpg" };
            keyring = format!("/etc/apt/keyrings/{name}.{suffix}");
            extras.push(Extra { path: keyring.trim_start_matches('/').to_owned(), content });
        }
        let stanza = |suite: &LockedSuite| {
            let url = locked.sources.get(suite.source as usize).map(String::as_str).unwrap_or_default();
            let (suite, components) = (&suite.name, suite.components.join(" "));
            format!("Types: deb\nURIs: {url}\nSuites: {suite}\nComponents: {components}\nSigned-By: {keyring}\n")
        };
        let content = locked.suites.iter().map(stanza).collect::<Vec<_>>().join("\n").into_bytes();
        extras.push(Extra { path: format!("etc/apt/sources.list.d/{name}.sources"), content });
        Ok(extras)
    }
}

/// What sandboxes of `host` do without. A machine that can't run any says so when it is to.
pub async fn lacks(host: &Arc<Host>) -> Lacks {
    let host = Arc::clone(host);
    let probed = tokio::task::spawn_blocking(move || host.lacks()).await;
    probed.ok().and_then(Result::ok).unwrap_or_default()
}

/// What the lock has of the packages that were chosen.
fn locked(suites: &[base::Suite], chosen: Vec<base::Chosen>, archive: &Archive) -> Result<LockedArchive, Error> {
    let mirrors = Mirrors::of_this_machine()?;
    let mut addresses: Vec<String> = Vec::new();
    let mut at = |url: &Url| {
        let url = mirrors.back(url.as_str().trim_end_matches('/'));
        addresses.iter().position(|address| *address == url).unwrap_or_else(|| {
            addresses.push(url);
            addresses.len() - 1
        }) as u32
    };
    let suite = |suite: &base::Suite| LockedSuite {
        name: suite.name.clone(),
        source: at(&suite.url),
        components: archive.components.clone(),
        date: suite.release.date.clone(),
        release: suite.release.sha256,
        signed_by: suite.release.key.clone(),
    };
    let suites: Vec<LockedSuite> = suites.iter().map(suite).collect();
    let deb = |chosen: base::Chosen| {
        let source = suites.iter().find(|suite| suite.name == chosen.suite).map_or(0, |suite| suite.source);
        let base::Chosen { name, version, architecture, path, sha256, size, .. } = chosen;
        LockedDeb { name, version, architecture, source, path, sha256, size }
    };
    let debs = chosen.into_iter().map(deb).collect();
    Ok(LockedArchive { sources: addresses, suites, key: None, debs })
}

/// Config and manifest of the base's image.
fn image(layers: &[LayerPart], platform: &Platform) -> Result<(Vec<u8>, Vec<u8>), serde_json::Error> {
    let created = jiff::Timestamp::from_second(EPOCH as i64).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string();
    let mut config = ImageConfig {
        os: platform.os.clone(),
        architecture: platform.architecture.clone(),
        variant: platform.variant.clone(),
        created: Some(created.clone()),
        ..ImageConfig::default()
    };
    for (layer, what) in layers.iter().zip(["unpack", "configure"]) {
        config.rootfs.diff_ids.push(DiffId(layer.diff_id.0));
        let created_by = Some(format!("dlpack base {what}"));
        config.history.push(History { created: Some(created.clone()), created_by, ..History::default() });
    }
    config.config.set_env("PATH", DEFAULT_PATH);
    config.config.cmd = Some(vec!["/bin/bash".into()]);
    let config = serde_json::to_vec(&config)?;
    let layers = layers.iter().map(|layer| layer.descriptor.clone()).collect();
    let manifest = Manifest::new(Descriptor::of(media_type::CONFIG, &config), layers).encode()?;
    Ok((config, manifest))
}
