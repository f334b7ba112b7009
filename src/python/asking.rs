//! How uv is asked: the options that a target takes, and files in a scratch directory.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;
use url::Url;

use super::source::Metadata;
use super::tags::Target;
use super::uv;
use super::wheel::normalize;

/// What uv is asked for, and a stand-in for the target's interpreter: a script that
/// prints what uv would ask a Python.
pub(super) struct Asking {
    directory: tempfile::TempDir,
    arguments: Vec<String>,
}

impl Asking {
    /// For a question that no target has a part in.
    pub(super) fn any() -> Result<Self, uv::Error> {
        Self::new(&Target { minor: 12, machine: "x86_64", glibc: 28 }, "3.12")
    }

    pub(super) fn new(target: &Target, python: &str) -> Result<Self, uv::Error> {
        let cannot = |source| uv::Error::Scratch { path: std::env::temp_dir(), source };
        let directory = tempfile::TempDir::new().map_err(cannot)?;
        let interpreter = directory.path().join("python");
        let platform = format!("{}-manylinux_2_{}", target.machine, known_to_uv(target.glibc));
        let interpreter = interpreter.display().to_string();
        let arguments = [
            "--only-binary",
            ":all:",
            "--python",
            &interpreter,
            "--python-platform",
            &platform,
            "--python-version",
            python,
        ];
        let asking = Self { arguments: arguments.map(str::to_owned).into(), directory };
        let answer = answer(target, python, asking.directory.path());
        let path = asking.write("python", &format!("#!/bin/sh\ncat <<'END'\n{answer}\nEND\n"))?;
        let executable = fs::set_permissions(&path, fs::Permissions::from_mode(0o755));
        executable.map_err(|source| uv::Error::Scratch { path, source })?;
        Ok(asking)
    }

    pub(super) fn write(&self, name: &str, content: &str) -> Result<PathBuf, uv::Error> {
        let path = self.directory.path().join(name);
        fs::write(&path, content).map_err(|source| uv::Error::Scratch { path: path.clone(), source })?;
        Ok(path)
    }

    /// Writes the `[project]` of a project that is built from source: uv then knows
    /// what it is and requires, and has nothing to run. Returns its URL.
    pub(super) fn describe(&self, project: &Metadata) -> Result<String, uv::Error> {
        let directory = self.directory.path().join(normalize(&project.name));
        fs::create_dir_all(&directory).map_err(|source| uv::Error::Scratch { path: directory.clone(), source })?;
        let path = directory.join("pyproject.toml");
        let refused = |source| uv::Error::Scratch { path: path.clone(), source };
        let table = json!({ "project": {
            "name": project.name,
            "version": project.version.as_deref().unwrap_or("0"),
            "requires-python": project.requires_python.as_deref().unwrap_or(">=3"),
            "dependencies": project.dependencies,
            "optional-dependencies": project.extras,
        } });
        let text = toml::to_string(&table).map_err(|error| refused(io::Error::other(error)))?;
        fs::write(&path, text).map_err(refused)?;
        let unnamed = || refused(io::ErrorKind::InvalidFilename.into());
        Ok(Url::from_directory_path(&directory).map_err(|()| unnamed())?.to_string())
    }

    pub(super) fn arguments(&self) -> Vec<String> {
        self.arguments.clone()
    }
}

/// The newest glibc that uv has a platform for and that is not newer than `glibc`.
fn known_to_uv(glibc: u32) -> u32 {
    match glibc {
        ..28 => 17,
        28..31 => 28,
        31..=40 => glibc,
        _ => 40,
    }
}

/// What uv asks an interpreter, answered for the target.
fn answer(target: &Target, python: &str, prefix: &Path) -> serde_json::Value {
    let short = format!("3.{}", target.minor);
    let full = if python.matches('.').count() == 2 { python.to_owned() } else { format!("{short}.0") };
    let library = prefix.join(format!("lib/python{short}"));
    let packages = library.join("site-packages");
    let executable = prefix.join("python");
    json!({
        "result": "success",
        "markers": {
            "implementation_name": "cpython", "implementation_version": full, "os_name": "posix",
            "platform_machine": target.machine, "platform_python_implementation": "CPython",
            "platform_release": "", "platform_system": "Linux", "platform_version": "",
            "python_full_version": full, "python_version": short, "sys_platform": "linux",
        },
        "sys_base_prefix": prefix, "sys_base_exec_prefix": prefix, "sys_prefix": prefix,
        "sys_base_executable": executable, "sys_executable": executable, "sys_path": [packages],
        "site_packages": [packages], "stdlib": library,
        "extension_suffixes": [".abi3.so", ".so"], "standalone": false,
        "scheme": {
            "platlib": packages, "purelib": packages, "include": prefix.join("include"),
            "scripts": prefix.join("bin"), "data": prefix,
        },
        "virtualenv": {
            "purelib": format!("lib/python{short}/site-packages"), "platlib": format!("lib/python{short}/site-packages"),
            "include": format!("include/site/python{short}"), "scripts": "bin", "data": "",
        },
        "os": { "name": "manylinux", "major": 2, "minor": target.glibc }, "arch": target.machine,
        "cpu_info": { "detected": { "kind": "flags", "flags": "" } }, "manylinux_compatible": true, "gil_disabled": false, "debug_enabled": false,
        "pointer_size": "64",
    })
}
