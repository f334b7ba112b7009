//! An image's config as names and values: what a container starts with, without what says how the
//! image came to be.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::oci::ImageConfig;

/// What `config` says, by names such as `env.PATH`, `labels.x`, `user`.
pub(super) fn of(config: &ImageConfig) -> BTreeMap<String, String> {
    let mut said = BTreeMap::new();
    let platform = [Some(&config.os), Some(&config.architecture), config.variant.as_ref()];
    said.insert("platform".to_owned(), platform.into_iter().flatten().cloned().collect::<Vec<_>>().join("/"));
    let container = serde_json::to_value(&config.config).unwrap_or_default();
    for (name, value) in container.as_object().into_iter().flatten() {
        match (name.as_str(), value) {
            ("Env", Value::Array(lines)) => {
                for line in lines.iter().filter_map(Value::as_str) {
                    let (name, value) = line.split_once('=').unwrap_or((line, ""));
                    said.insert(format!("env.{name}"), value.to_owned());
                }
            }
            // Each is a key on its own: labels, ports, volumes.
            (_, Value::Object(entries)) => {
                said.extend(entries.iter().map(|(key, value)| (format!("{}.{key}", lower(name)), text(value))));
            }
            (_, Value::Null) => {}
            (_, value) => _ = said.insert(lower(name), text(value)),
        }
    }
    said
}

/// `WorkingDir` as a person writes it.
fn lower(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map(|first| first.to_lowercase().chain(characters).collect()).unwrap_or_default()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
