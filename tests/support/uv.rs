//! Finding uv, which resolves for dlpack and installs for comparison.

use std::path::{Path, PathBuf};
use std::process::Command;

/// uv's executable: the first in `PATH`.
pub fn uv() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join("uv")).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("uv is not in PATH\nhint: python3 -m pip install uv, or run scripts/test"))
}

/// `uv pip install --no-deps` of `requirements` into a new environment at
/// `directory`, made for Python `python` (`3.11`).
#[track_caller]
pub fn install(directory: &Path, python: &str, requirements: &[&str]) {
    let mut venv = Command::new(uv());
    super::output(venv.args(["venv", "--quiet", "--python", python]).arg(directory), "python3-venv");
    let mut install = Command::new(uv());
    install.args(["pip", "install", "--quiet", "--no-deps", "--link-mode", "copy", "--python"]).arg(directory);
    super::output(install.args(requirements), "python3-venv");
}
