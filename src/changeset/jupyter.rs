//! JupyterLab's settings and how it is started. The server itself is a wheel of the
//! venv; its token is made at each start and never part of an image.

use serde_json::json;

use super::entries::Entries;
use super::{Changeset, Inputs, SERVICES, own_services};
use crate::layer::{Attributes, LayerWriter};
use crate::oci::Amendment;
use crate::recipe::{self, LayerKind, Recipe};
use crate::sandbox::Rootfs;

const SETTINGS: &str = include_str!("../../layers/jupyter/etc/jupyter/jupyter_server_config.py");
const SERVICE: &str = include_str!("../../layers/jupyter/usr/local/lib/dlpack/services.d/jupyter");

/// Writes Jupyter's configuration and the service that starts it.
#[derive(Debug)]
pub struct Jupyter {
    port: u16,
    settings: String,
    service: String,
    root_dir: Option<String>,
    user: String,
    venv: String,
}

/// The changeset of a `jupyter` layer of `whole`. Where the layer names no account,
/// it runs as the recipe's, if the recipe makes just one.
pub fn changeset(recipe: &recipe::Jupyter, whole: &Recipe) -> Jupyter {
    let port = recipe.port.unwrap_or(8888);
    let mut settings = SETTINGS.replace(".port = 8888\n", &format!(".port = {port}\n"));
    if let Some(directory) = &recipe.root_dir {
        // A JSON string is a Python string.
        settings = settings.replace("os.path.expanduser(\"~\")", &json!(directory).to_string());
    }
    let user = recipe.user.as_deref().or_else(|| only_account(whole)).unwrap_or_default();
    let venv = recipe.venv.as_deref().unwrap_or("/opt/venv");
    let service = SERVICE
        .replace("\nvenv=/opt/venv\n", &format!("\nvenv={}\n", quoted(venv)))
        .replace("\nuser=\n", &format!("\nuser={}\n", quoted(user)));
    let (user, venv) = (user.to_owned(), venv.to_owned());
    Jupyter { port, settings, service, root_dir: recipe.root_dir.clone(), user, venv }
}

fn only_account(recipe: &Recipe) -> Option<&str> {
    let mut users = recipe.layers.iter().filter_map(|layer| match &layer.kind {
        LayerKind::Account(account) => Some(account.user.as_str()),
        _ => None,
    });
    users.next().filter(|_| users.next().is_none())
}

// POSIX shell, 2.2.2: "Enclosing characters in single-quotes shall preserve the literal value
// of each character"; a single-quote itself can't be among them.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

impl Changeset for Jupyter {
    fn inputs(&self) -> Inputs {
        Inputs::new("jupyter", 1, format!("dlpack jupyter on port {}", self.port))
            .with("settings", self.settings.as_str())
            .with("service", self.service.as_str())
            .telling("port", self.port)
            .telling("root-dir", self.root_dir.as_deref())
            .telling("user", self.user.as_str())
            .telling("venv", self.venv.as_str())
    }

    fn write(&self, _under: &Rootfs, out: &mut LayerWriter) -> Result<(), super::Error> {
        let mut entries = Entries::default();
        own_services(&mut entries);
        entries.directory("etc/jupyter", Attributes::root(0o755));
        entries.file("etc/jupyter/jupyter_server_config.py", Attributes::root(0o644), self.settings.as_str());
        entries.file(format!("{SERVICES}/jupyter"), Attributes::root(0o755), self.service.as_str());
        Ok(entries.write(out)?)
    }

    fn amendments(&self) -> Vec<Amendment> {
        vec![Amendment::Expose(format!("{}/tcp", self.port))]
    }
}
