//! What is installed in an image, as its annotations say: wheels and Debian packages.

use std::collections::BTreeMap;

use super::layers;
use crate::assemble::Described;
use crate::changeset::{ANNOTATION_INPUTS, Told};

/// Versions by name. Where an image has one in two layers, such as for two venvs, both stand there.
#[derive(Default)]
pub(super) struct Contents {
    pub wheels: BTreeMap<String, String>,
    pub debs: BTreeMap<String, String>,
}

impl Contents {
    fn add(&mut self, field: &str, name: &str, version: &str) {
        let list = match field {
            "wheels" | "source" => &mut self.wheels,
            "debs" => &mut self.debs,
            _ => return,
        };
        let versions = list.entry(name.to_owned()).or_default();
        if !versions.split(", ").any(|other| other == version) {
            if !versions.is_empty() {
                versions.push_str(", ");
            }
            versions.push_str(version);
        }
    }
}

/// What is installed in `image`.
pub(super) fn of(image: &Described) -> Contents {
    let mut contents = Contents::default();
    let made_by = layers::made_by(image);
    for (at, descriptor) in image.manifest.layers.iter().enumerate() {
        let told =
            descriptor.annotations.get(ANNOTATION_INPUTS).and_then(|text| serde_json::from_str::<Told>(text).ok());
        match told {
            // Its wheels lie in another layer.
            Some(told) if told.kind == "bytecode" => {}
            Some(told) if !told.parts.is_empty() => {
                for (field, parts) in &told.parts {
                    parts.iter().for_each(|(name, part)| contents.add(field, name, part.version().unwrap_or_default()));
                }
            }
            // An older dlpack's, or one of too many packages: `NAME VERSION`, by what the history says.
            _ => {
                let made_by = made_by.get(at).copied().unwrap_or_default();
                let field = match () {
                    () if made_by.starts_with("dlpack apt ") => "debs",
                    () if made_by.starts_with("dlpack venv ") && !made_by.contains("bytecode of") => "wheels",
                    () => continue,
                };
                for content in layers::contents(descriptor) {
                    if let Some((name, version)) = content.name.split_once(' ') {
                        contents.add(field, name, version);
                    }
                }
            }
        }
    }
    contents
}
