//! A made-up machine with an NVIDIA driver, in a directory: what `DLPACK_DRIVER_ROOT` names.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// The driver's version.
pub const DRIVER: &str = "550.54.15";

/// The UUIDs of its two GPUs.
pub const UUIDS: [&str; 2] = ["GPU-5a1c9e0e-0000-4b11-9d4f-6f0000000000", "GPU-77e2c1d3-1111-4b11-9d4f-6f1111111111"];

/// Where Debian has libraries.
pub const LIBRARIES: &str =
    if cfg!(target_arch = "aarch64") { "/usr/lib/aarch64-linux-gnu" } else { "/usr/lib/x86_64-linux-gnu" };

/// What nvidia-smi(1) answers, as a shell script: UUIDs of those GPUs whose device nodes it sees.
fn nvidia_smi() -> String {
    let [first, second] = UUIDS;
    format!(
        "case $1 in\n\
         --query-gpu=uuid) test ! -e /dev/nvidia1 || echo {first}; test ! -e /dev/nvidia0 || echo {second};;\n\
         --query-gpu=*) echo '00000000:17:00.0, 8.0';;\n\
         *) echo it runs;;\n\
         esac"
    )
}

/// A made-up machine.
pub struct Machine {
    directory: TempDir,
}

impl Machine {
    /// One without a driver.
    pub fn bare() -> Self {
        let directory = tempfile::Builder::new().prefix("dlpack-machine-").tempdir().expect("a directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("set");
        Self { directory }
    }

    /// One with the driver and two GPUs.
    pub fn with_driver() -> Self {
        let machine = Self::bare();
        let line = format!("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {DRIVER}  Release Build  (dvs)\n");
        machine.write("/proc/driver/nvidia/version", &line);
        for (minor, pci, uuid) in [(1, "0000:17:00.0", UUIDS[0]), (0, "0000:65:00.0", UUIDS[1])] {
            let information = format!(
                "Model: \t\t NVIDIA A100-SXM4-40GB\nIRQ:   \t\t 40\nGPU UUID: \t {uuid}\nBus Location: \t {pci}\nDevice Minor: \t {minor}\n"
            );
            machine.write(&format!("/proc/driver/nvidia/gpus/{pci}/information"), &information);
        }
        for node in ["nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset"] {
            machine.node(&format!("/dev/{node}"));
        }
        for (name, soname) in
            [("libcuda", "libcuda.so.1"), ("libnvidia-ml", "libnvidia-ml.so.1"), ("libnvcuvid", "libnvcuvid.so.1")]
        {
            machine.library(name, soname, DRIVER);
        }
        // left from an update
        machine.library("libnvidia-opencl", "libnvidia-opencl.so.1", "535.104.05");
        machine.program("nvidia-smi", &nvidia_smi());
        machine.update_cache();
        machine
    }

    /// Its `/`.
    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    /// Where `path` of it is.
    pub fn at(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    /// Makes the file `path` of it.
    pub fn write(&self, path: &str, content: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("created");
        fs::write(path, content).expect("written");
    }

    /// Removes `path` of it.
    pub fn remove(&self, path: &str) {
        fs::remove_file(self.at(path)).expect("removed");
    }

    /// A file in place of a device, which takes a privilege: it says its name.
    pub fn node(&self, path: &str) {
        self.write(path, &format!("{path}\n"));
        fs::set_permissions(self.at(path), fs::Permissions::from_mode(0o666)).expect("set");
    }

    /// A shell script among its programs.
    pub fn program(&self, name: &str, script: &str) {
        let path = format!("/usr/bin/{name}");
        self.write(&path, &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(self.at(&path), fs::Permissions::from_mode(0o755)).expect("set");
    }

    /// A library that a loader takes, with the link of its name.
    pub fn library(&self, name: &str, soname: &str, version: &str) {
        let file = format!("{LIBRARIES}/{name}.so.{version}");
        self.write(&file, "");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-nostdlib", "-x", "c", "/dev/null", &format!("-Wl,-soname,{soname}"), "-o"]);
        super::output(cc.arg(self.at(&file)), "gcc");
        symlink(format!("{name}.so.{version}"), self.at(&format!("{LIBRARIES}/{soname}"))).expect("linked");
    }

    /// Makes its loader's cache as ldconfig(8) does.
    pub fn update_cache(&self) {
        self.write("/etc/ld.so.conf", &format!("{LIBRARIES}\n"));
        super::output(Command::new("/sbin/ldconfig").arg("-r").arg(self.root()), "libc-bin");
    }
}
