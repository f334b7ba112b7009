//! What a person wrote: a base, an ordered list of layers, the image config.
//! Read with line and column, flavours merged (`extends`), variables filled in.
//!
//! A file is parsed into a tree whose values know where they stand (`tree`), laid
//! over what it extends (`flavour`), its variables are filled in (`variables`), and
//! the whole is read key by key (`decode`, `layers`) into the [`Recipe`].

mod accepts;
mod container;
mod decode;
mod error;
mod flavour;
mod layers;
mod load;
mod model;
mod near;
mod origin;
mod port;
mod requirement;
mod run;
mod shipped;
mod table;
mod test;
mod tree;
mod values;
mod variables;

pub use accepts::Word;
pub use container::{Bind, Container, Cwd, Net, container_path, memory_size, mount_point};
pub use error::{Error, Problem};
pub use load::{Loaded, Sources, directory_of};
pub use model::{
    Account, Apt, AptSource, Archive, Base, Config, Files, FilesEntry, IdSetting, Interpreter, Jupyter, Layer,
    LayerKind, Recipe, Run, RunCache, RunMount, RunSecret, Sshd, Timezone, USER_SITE, Venv,
};
pub use origin::{Excerpt, Location};
pub use port::Port;
pub use shipped::{shipped, shipped_names};
pub use test::{Test, Tests};
pub use values::is_secret_name;
