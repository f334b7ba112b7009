//! `scripts/gpu`, the one that says what a real GPU is held to: on a machine that has one, and on
//! a made-up machine for its own sake.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::command::Dlpack;
use crate::support::image::{Layout, Packing};
use crate::support::machine::{Machine, UUIDS};
use crate::support::{output, tiny};

/// Where an image and options of `dlpack run` for [`a_real_gpu_multiplies_matrices_in_a_container`]
/// stand, with spaces between them.
const ARGUMENTS: &str = "DLPACK_TEST_GPU";

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name)
}

#[test]
#[ignore = "needs a GPU of NVIDIA's with its driver, and what DLPACK_TEST_GPU names as scripts/gpu takes it: by default a registry for the recipe `torch`"]
fn a_real_gpu_multiplies_matrices_in_a_container() {
    let arguments = std::env::var(ARGUMENTS).unwrap_or_default();
    let mut gpu = Command::new(script("gpu"));
    gpu.args(arguments.split_whitespace()).env("DLPACK", env!("CARGO_BIN_EXE_dlpack"));
    let said = output(&mut gpu, "bash");
    assert!(String::from_utf8_lossy(&said.stdout).contains(" multiplies matrices: the driver"), "{said:?}");
}

/// A machine, an image whose Python is a shell's, and a directory of programs with a nvidia-smi that
/// tells these UUIDs of the machine.
fn made_up(dlpack: &Dlpack, outside: &[&str]) -> Machine {
    let machine = Machine::with_driver();
    let python = "#!/bin/sh\nls /dev | grep -c 'nvidia[0-9]'\necho \"$#\" \"$3\"\n";
    let tar = tiny::tar().owned_file("bin/python3", 0o755, (0, 0), python);
    Layout::create(dlpack.work().join("base")).image().layer(Packing::Gzip, tar).tagged("base");
    let smi = dlpack.write("bin/nvidia-smi", &format!("#!/bin/sh\nprintf '%s\\n' {}\n", outside.join(" ")));
    std::fs::set_permissions(smi, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("set");
    machine
}

/// What `scripts/gpu` exits with there, and says.
fn runs(dlpack: &Dlpack, machine: &Machine, arguments: &[&str]) -> (Option<i32>, String) {
    let script = script("gpu");
    let mut gpu = dlpack.command_as_user(script.to_str().expect("UTF-8"), arguments);
    let path = format!("{}:{}", dlpack.work().join("bin").display(), std::env::var("PATH").unwrap_or_default());
    gpu.env("PATH", path).env("DLPACK", env!("CARGO_BIN_EXE_dlpack")).env("DLPACK_DRIVER_ROOT", machine.root());
    let ran = gpu.output().expect("bash");
    (ran.status.code(), format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr)))
}

#[test]
fn the_script_for_a_real_gpu_does_what_it_says_on_a_made_up_machine() {
    let dlpack = Dlpack::unprivileged();
    let machine = made_up(&dlpack, &UUIDS);
    let expected = format!(
        "--gpus all: the UUIDs that nvidia-smi tells: ok\n\
         --gpus 0: the first one's: ok\n\
         --gpus {}: the first one's: ok\n\
         --gpus {}: the first one's: ok\n\
         --gpus none: no device nodes: ok\n2\n",
        UUIDS[0],
        &UUIDS[0][..12]
    );
    let with_torch = format!("{expected}2 \n");
    assert_eq!(runs(&dlpack, &machine, &["oci:base"]), (Some(0), with_torch));
    let without = format!("{expected}3 --no-torch\n");
    assert_eq!(runs(&dlpack, &machine, &["--no-torch", "-e", "A=1", "oci:base"]), (Some(0), without));
    // what does not agree ends it
    made_up(&dlpack, &UUIDS[..1]);
    let (status, said) = runs(&dlpack, &machine, &["oci:base"]);
    assert_eq!(status, Some(1));
    assert!(said.starts_with("--gpus all: the UUIDs that nvidia-smi tells\nexpected:\nGPU-5a1c9e0e"), "{said}");
}

#[test]
fn the_scripts_product_is_held_against_the_right_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gpu/libcuda.c");
    let multiply = |wrong: &str| {
        let library = directory.path().join("libcuda.so.1");
        output(Command::new("cc").args(["-shared", "-fPIC", wrong, "-o"]).arg(&library).arg(&source), "gcc");
        let mut python = Command::new("python3");
        python.arg(script("matrix_product.py")).arg("--no-torch").env("LD_LIBRARY_PATH", directory.path());
        let ran = python.output().expect("python3");
        (ran.status.code(), String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned())
    };
    let right = "first multiplies matrices: the driver\nsecond multiplies matrices: the driver\n";
    assert_eq!(multiply("-DWRONG=0"), (Some(0), right.to_owned()));
    assert_eq!(multiply("-DWRONG=1"), (Some(1), "the driver's product is wrong: -1.0 in place of -2\n".to_owned()));
}

#[test]
fn the_scripts_shell_is_sound() {
    output(Command::new("shellcheck").arg(script("gpu")), "shellcheck");
}
