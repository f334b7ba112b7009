//! The seccomp filter: which calls go to the supervisor, which are answered on the
//! spot, and which the kernel does as ever.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::Mode;
use super::call::{Call, When};
use super::tables::{Abi, abis};
use crate::sandbox::sys::seccomp::{self, Instruction};

/// Offsets in `struct seccomp_data` (linux/seccomp.h).
const NR: u32 = 0;
const ARCH: u32 = 4;
const ARGS: u32 = 16;

/// Sets the filter of `mode` for the calling thread and all that it starts. The
/// listener that comes back is what [`super::Supervisor`] serves; [`Mode::Fake`] has none.
///
/// # Errors
/// EBUSY where a filter with a listener is set already (a sandbox in a sandbox), EINVAL
/// where the kernel knows no listeners: fall back to [`Mode::Fake`].
pub(super) fn install(mode: Mode) -> io::Result<Option<OwnedFd>> {
    let mut program = program(mode, &abis());
    match mode {
        Mode::Full | Mode::Record => seccomp::listen(&mut program).map(Some),
        Mode::Fake => seccomp::filter(&mut program).map(|()| None),
    }
}

/// What becomes of a call.
#[derive(Clone, Copy)]
enum Action {
    /// The supervisor answers.
    Notify,
    /// It fails; with 0 it succeeds without having any effect.
    Fail(i32),
}

impl Action {
    fn value(self) -> u32 {
        match self {
            Self::Notify => libc::SECCOMP_RET_USER_NOTIF,
            Self::Fail(error) => libc::SECCOMP_RET_ERRNO | error.cast_unsigned(),
        }
    }
}

/// What becomes of `call`, and when; nothing where the kernel does it as ever.
fn action(mode: Mode, call: Call) -> Option<(Action, When)> {
    match (mode, call) {
        (_, Call::Absent) => Some((Action::Fail(Errno::NOSYS.raw_os_error()), When::Always)),
        (_, Call::Forbidden) => Some((Action::Fail(Errno::PERM.raw_os_error()), When::Always)),
        // the limit that carries the credentials can't be changed under them
        (Mode::Full, Call::Setrlimit) => Some((Action::Fail(0), call.when())),
        (Mode::Full, _) => Some((Action::Notify, call.when())),
        (Mode::Record, _) if call.is_chown() => Some((Action::Notify, When::Always)),
        (Mode::Record, _) => match call.when_a_device() {
            Some(when) => Some((Action::Notify, when)),
            None => call.sets_credentials().then_some((Action::Fail(0), When::Always)),
        },
        (Mode::Fake, _) => match call.when_a_device() {
            Some(when) => Some((Action::Fail(0), when)),
            None => (call.is_chown() || call.sets_credentials()).then_some((Action::Fail(0), When::Always)),
        },
    }
}

fn program(mode: Mode, abis: &[Abi]) -> Vec<Instruction> {
    let mut program = vec![load(ARCH)];
    for abi in abis {
        let block = block(mode, abi);
        program.push(if_equal(abi.arch, 1, 0));
        program.push(jump(block.len() as u32));
        program.extend(block);
    }
    program.push(end(libc::SECCOMP_RET_KILL_PROCESS));
    program
}

/// Decides on a call of `abi`. The kernel works out beforehand which numbers are
/// always allowed, and runs the program only for the others.
fn block(mode: Mode, abi: &Abi) -> Vec<Instruction> {
    let mut block = vec![load(NR)];
    for (nr, call) in &abi.calls {
        let Some((action, when)) = action(mode, *call) else { continue };
        let decision = decision(action, when);
        block.push(if_equal(*nr, 0, decision.len() as u8));
        block.extend(decision);
    }
    block.push(end(libc::SECCOMP_RET_ALLOW));
    block
}

/// Ends the program with `action` if `when` is so, and with the kernel's own otherwise.
fn decision(action: Action, when: When) -> Vec<Instruction> {
    let (taken, allowed) = (end(action.value()), end(libc::SECCOMP_RET_ALLOW));
    match when {
        When::Always => vec![taken],
        When::Bits(argument, bits) => {
            vec![load(lower_half(argument)), instruction(0x45, bits, 0, 1), taken, allowed] // JMP|JSET|K
        }
        When::Among(argument, mask, values) => {
            let mut decision = vec![load(lower_half(argument)), instruction(0x54, mask, 0, 0)]; // ALU|AND|K
            let count = values.len() as u8;
            for (n, value) in (0_u8..).zip(values) {
                decision.push(if_equal(*value, count - n, 0));
            }
            decision.extend([allowed, taken]);
            decision
        }
    }
}

/// Where an argument's lower 32 bits are; both architectures are little-endian.
fn lower_half(argument: u8) -> u32 {
    ARGS + 8 * u32::from(argument)
}

fn instruction(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

/// LD|W|ABS
fn load(offset: u32) -> Instruction {
    instruction(0x20, offset, 0, 0)
}

/// JMP|JEQ|K
fn if_equal(value: u32, jt: u8, jf: u8) -> Instruction {
    instruction(0x15, value, jt, jf)
}

/// JMP|JA
fn jump(over: u32) -> Instruction {
    instruction(0x05, over, 0, 0)
}

/// RET|K
fn end(value: u32) -> Instruction {
    instruction(0x06, value, 0, 0)
}

#[cfg(test)]
mod tests {
    use super::super::tables::tests::all;
    use super::*;

    const X86_64: u32 = 0xc000_003e;
    const I386: u32 = 0x4000_0003;
    const AARCH64: u32 = 0xc000_00b7;

    /// What a program says of a call: the kernel's interpreter, as far as it is used here.
    fn run(program: &[Instruction], arch: u32, nr: u32, args: [u64; 6]) -> u32 {
        let load = |offset: u32| match offset {
            NR => nr,
            ARCH => arch,
            _ => args[((offset - ARGS) / 8) as usize] as u32,
        };
        let (mut at, mut a) = (0, 0_u32);
        loop {
            let Instruction { code, jt, jf, k } = program[at];
            at += 1;
            let branch = |taken: bool| usize::from(if taken { jt } else { jf });
            match code {
                0x20 => a = load(k),
                0x54 => a &= k,
                0x15 => at += branch(a == k),
                0x45 => at += branch(a & k != 0),
                0x05 => at += k as usize,
                0x06 => return k,
                _ => panic!("no instruction of ours: {code:#x}"),
            }
        }
    }

    fn on_all(mode: Mode) -> impl Fn(u32, u32, [u64; 6]) -> u32 {
        let program = program(mode, &all());
        move |arch, nr, args| run(&program, arch, nr, args)
    }

    const NOTIFY: u32 = libc::SECCOMP_RET_USER_NOTIF;
    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const NOTHING: u32 = libc::SECCOMP_RET_ERRNO;

    #[test]
    fn every_call_of_the_tables_is_decided_on_in_full() {
        let full = on_all(Mode::Full);
        for abi in all() {
            for (nr, call) in &abi.calls {
                let expected = match call {
                    Call::Absent => NOTHING | 38,
                    Call::Forbidden => NOTHING | 1,
                    Call::Setrlimit => NOTHING,
                    _ => NOTIFY,
                };
                // arguments for which each of the conditions is so
                let with = |argument: u8, value: u32| {
                    let mut args = [0; 6];
                    args[usize::from(argument)] = u64::from(value);
                    args
                };
                let args = match call.when() {
                    When::Always => [0; 6],
                    When::Bits(argument, bits) => with(argument, bits),
                    When::Among(argument, _, values) => with(argument, values[values.len() - 1]),
                };
                assert_eq!(full(abi.arch, *nr, args), expected, "{:#x} {call:?}", abi.arch);
            }
        }
    }

    #[test]
    fn what_is_of_no_interest_is_the_kernels() {
        let full = on_all(Mode::Full);
        assert_eq!(full(X86_64, 0, [0; 6]), ALLOW, "read");
        assert_eq!(full(X86_64, 2, [0, 0o2, 0, 0, 0, 0]), ALLOW, "open without O_CREAT");
        assert_eq!(full(X86_64, 257, [0, 0, 0o1101, 0, 0, 0]), NOTIFY, "openat that creates");
        assert_eq!(full(X86_64, 157, [15, 0, 0, 0, 0, 0]), ALLOW, "prctl(PR_SET_NAME)");
        assert_eq!(full(X86_64, 302, [0, 7, 0, 0, 0, 0]), ALLOW, "prlimit64(RLIMIT_NOFILE)");
        assert_eq!(full(X86_64, 55, [0, 1, 7, 0, 0, 0]), ALLOW, "getsockopt(SO_SNDBUF)");
        assert_eq!(full(I386, 102, [3, 0, 0, 0, 0, 0]), ALLOW, "socketcall(SYS_CONNECT)");
    }

    #[test]
    fn numbers_are_those_of_their_own_abi() {
        let full = on_all(Mode::Full);
        assert_eq!(full(X86_64, 102, [0; 6]), NOTIFY, "getuid");
        assert_eq!(full(X86_64, 0x4000_0000 + 102, [0; 6]), NOTIFY, "x32's getuid");
        assert_eq!(full(X86_64, 0x4000_0000 + 520, [0; 6]), NOTIFY, "x32's execve");
        assert_eq!(full(I386, 92, [0; 6]), ALLOW, "truncate there, chown on x86-64");
        assert_eq!(full(AARCH64, 174, [0; 6]), NOTIFY, "getuid");
        assert_eq!(full(0x4000_0028, 1, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS, "32-bit ARM");
    }

    #[test]
    fn record_hears_of_owners_and_devices_and_fake_of_nothing() {
        let (record, fake) = (on_all(Mode::Record), on_all(Mode::Fake));
        assert_eq!((record(X86_64, 92, [0; 6]), fake(X86_64, 92, [0; 6])), (NOTIFY, NOTHING), "chown");
        assert_eq!((record(X86_64, 105, [0; 6]), fake(X86_64, 105, [0; 6])), (NOTHING, NOTHING), "setuid");
        assert_eq!((record(X86_64, 102, [0; 6]), fake(X86_64, 102, [0; 6])), (ALLOW, ALLOW), "getuid");
        let (device, fifo) = ([0, 0o020_644, 0, 0, 0, 0], [0, 0o010_644, 0, 0, 0, 0]);
        assert_eq!((record(X86_64, 133, device), fake(X86_64, 133, device)), (NOTIFY, NOTHING), "mknod of a device");
        assert_eq!((record(X86_64, 133, fifo), fake(X86_64, 133, fifo)), (ALLOW, ALLOW), "mknod of a FIFO");
        assert_eq!((record(X86_64, 425, [0; 6]), fake(X86_64, 246, [0; 6])), (NOTHING | 38, NOTHING | 1));
    }
}
