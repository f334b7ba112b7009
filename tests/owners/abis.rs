//! The other ABIs of x86-64: what 32-bit programs and x32's numbers get.

use std::path::Path;
use std::process::Command;

use crate::support::output;
use crate::support::sandbox::{Bench, as_user, shell};

/// Makes the program at `path`; the compiler is that of the tests' own build.
fn compile(path: &Path) {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/owners/i386.c");
    let mut command = Command::new("gcc");
    command.args(["-m32", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-pie", "-no-pie"]);
    output(command.args(["-o"]).arg(path).arg(source), "gcc");
}

#[test]
fn a_program_of_32_bits_sees_and_changes_the_same_owners() {
    as_user("owners::abis::a_program_of_32_bits_sees_and_changes_the_same_owners", || {
        let bench = Bench::new();
        let lower = bench.path("lower");
        std::fs::create_dir(&lower).unwrap();
        compile(&lower.join("i386"));
        let mut sandbox = bench.open_on(&[&crate::support::sandbox::root(), &lower]);
        let printed = shell(&mut sandbox, "mkdir -m 777 /w; cd /w; /i386");
        let file = |narrow: u32, wide: u32, gid: u32| {
            let old = format!(" 0 {narrow} {gid}").repeat(3);
            format!("file{old}{}", format!(" 0 {wide} {gid}").repeat(3))
        };
        let made =
            |name: &str, mode: u32| format!("{name}{} {mode}", " 0 6 65534".repeat(3) + &" 0 6 100001".repeat(3));
        let expected = [
            " 0".to_owned(),
            format!("{} 33188 0", file(1, 1, 0)),
            format!("{} 33188 0", file(65_534, 100_000, 2)),
            format!("{} 33188", file(65_534, 100_000, 3)),
            "ids 0 2 2 7 65534 0 65534 100001 0 0 5 6 0 0 5 6 0 5 6".to_owned(),
            "made 1 0 0 0 -1 -38".to_owned(),
            made("opened", 0o100_600),
            made("made", 0o040_700),
            made("fifo", 0o010_600),
        ];
        assert_eq!(printed, expected.join("\n").trim_end());
    });
}

#[test]
fn numbers_of_x32_are_emulated_too() {
    as_user("owners::abis::numbers_of_x32_are_emulated_too", || {
        let bench = Bench::new();
        let mut sandbox = bench.open();
        // answered before the kernel finds out whether it knows x32: setresuid, geteuid, stat, chown
        let script = "
            cd /root; touch file
            perl -e '$x = 0x40000000; $f = q(file); $b = chr(0) x 144; $, = q( );
                     print syscall($x + 92, $f, 7, 8), syscall($x + 117, 5, 6, 0), syscall($x + 107), $>,
                           syscall($x + 4, $f, $b), (unpack(q(Q3L3), $b))[4, 5]'";
        assert_eq!(shell(&mut sandbox, script), "0 0 6 6 0 7 8");
    });
}
