//! What a rebase came to, or would, for a person and for a program.

use serde_json::{Value, json};

use super::Arguments;
use crate::assemble::Pushed;
use crate::cli::display::{bytes, count, table};
use crate::oci::Digest;

/// What became of an image, or would.
pub(super) struct Outcome {
    /// The manifest; nothing for a rehearsal in which layers would have to be made.
    pub(super) digest: Option<Digest>,
    pub(super) base: Option<Digest>,
    pub(super) base_layers: usize,
    pub(super) layers: Vec<Row>,
    /// How many layers were made that were not known before.
    pub(super) built: usize,
    pub(super) sent: Sent,
}

/// A layer over the base.
pub(super) struct Row {
    pub(super) layer: String,
    pub(super) title: String,
    pub(super) becomes: Becomes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Becomes {
    /// It is the image's own.
    Kept,
    /// It is one of its name that was made on the new base.
    Replaced,
    /// That one is not known yet.
    ToBeMade,
}

pub(super) enum Sent {
    Pushed(Pushed),
    /// At most so many bytes.
    Would(u64),
}

impl Becomes {
    fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Replaced => "replaced",
            Self::ToBeMade => "to be made",
        }
    }
}

impl Outcome {
    pub(super) fn text(&self, arguments: &Arguments, pushed: &Pushed) -> String {
        let replaced: Vec<&str> =
            self.layers.iter().filter(|row| row.becomes != Becomes::Kept).map(|row| row.layer.as_str()).collect();
        let kept = count(self.layers.len() - replaced.len(), "layer");
        let replaced = match replaced.as_slice() {
            [] => String::new(),
            names => format!(", {} replaced ({} built now)", names.join(", "), self.built),
        };
        let Pushed { present, mounted, uploaded, bytes: sent, .. } = *pushed;
        format!(
            "{kept} kept on {}{}{replaced}; {present} blobs there already, {mounted} mounted, {uploaded} sent ({})",
            arguments.onto,
            self.base.map(|base| format!(" ({})", base.short())).unwrap_or_default(),
            bytes(sent)
        )
    }

    pub(super) fn table(&self, arguments: &Arguments) -> String {
        let mut rows = vec![["layer", "what", "becomes"].map(str::to_owned).to_vec()];
        rows.push(vec!["base".into(), count(self.base_layers, "layer"), arguments.onto.to_string()]);
        for Row { layer, title, becomes } in &self.layers {
            rows.push(vec![layer.clone(), title.clone(), becomes.word().into()]);
        }
        table(&rows, &[])
    }

    pub(super) fn json(&self, arguments: &Arguments) -> Value {
        let layers = self
            .layers
            .iter()
            .map(|Row { layer, title, becomes }| json!({ "layer": layer, "what": title, "becomes": becomes.word() }));
        let mut json = json!({
            "digest": self.digest,
            "base": { "name": arguments.onto.to_string(), "digest": self.base, "layers": self.base_layers },
            "layers": layers.collect::<Vec<_>>(),
        });
        match self.sent {
            Sent::Would(most) => json["atMost"] = json!(most),
            Sent::Pushed(pushed) => {
                json["built"] = json!(self.built);
                json["present"] = json!(pushed.present);
                json["mounted"] = json!(pushed.mounted);
                json["uploaded"] = json!(pushed.uploaded);
                json["bytes"] = json!(pushed.bytes);
            }
        }
        json
    }
}
