//! What a person wrote: a base, an ordered list of layers, the image config.
//! Read with line and column, flavours merged (`extends`), variables filled in.

mod model;

pub use model::{
    Account, Apt, Base, Config, Files, FilesEntry, IdSetting, Interpreter, Jupyter, Layer, LayerKind, Recipe, Run,
    Sshd, Timezone, Venv,
};
