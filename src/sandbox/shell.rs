//! A shell where a step failed, for whoever asked for one and sits at a terminal.

use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use super::spec::Task;
use super::{Ending, Error, Log, Sandbox, Step, network, terminal};

/// bash where there is one.
const SHELL: [&str; 3] = ["/bin/sh", "-c", "if command -v bash >/dev/null; then exec bash -i; else exec sh -i; fi"];

impl Sandbox {
    /// Runs `step` as [`Self::run`] does, with what it prints kept in `log`. If it fails,
    /// and [`super::Host::shell_on_failure`] is set, a person gets a shell in the sandbox
    /// before the failure is returned.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_logged(&mut self, step: &Step, log: &mut Log) -> Result<(), Error> {
        let ran = self.run(step, &mut |bytes| log.take(bytes));
        if let Err(Error::Step { ending, .. }) = &ran {
            self.offer_shell(step, *ending, log)?;
        }
        ran
    }

    /// One shell a run of dlpack: when the person has left it, the build is to end, and
    /// with it what else was under way.
    fn offer_shell(&mut self, step: &Step, ending: Ending, log: &mut Log) -> Result<(), Error> {
        static OFFERED: AtomicBool = AtomicBool::new(false);
        let host = self.host()?.clone();
        if !host.shell_on_failure || OFFERED.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let Some(terminal) = terminal::of_person() else {
            host.progress.warn("no shell where the step failed: stdin is no terminal");
            return Ok(());
        };
        let lines = log.last_lines();
        let mut left = Ok(());
        host.progress.aside(&mut || left = self.shell(step, &lines, ending, &terminal));
        if let Err(error) = left {
            host.progress.warn(format!("no shell where the step failed: {error}"));
        }
        Ok(())
    }

    /// A shell in place of `step`: with its environment, directory, user, network and
    /// mounts, and with all that it had written.
    fn shell(&mut self, step: &Step, lines: &[String], ending: Ending, mut terminal: &File) -> Result<(), Error> {
        let told: String = lines.iter().map(|line| format!("  | {line}\n")).collect();
        let told = format!(
            "{told}The step ended with {ending}. This shell is in its sandbox, with all that it had written;\n\
             leave it with `exit`: the build ends then, and nothing of this is kept.\n"
        );
        let failed = |source| Error::Io { doing: "use the terminal", path: "/dev/tty".into(), source };
        terminal.write_all(told.as_bytes()).map_err(failed)?;
        let mut step = Step { command: SHELL.map(str::to_owned).into(), ..step.clone() };
        if let Ok(term) = std::env::var("TERM") {
            step.env.insert("TERM".into(), term);
        }
        let task = Task { interactive: true, ..network::task(&step, |name| std::env::var(name).ok()) };
        self.interact(task, terminal.try_clone().map_err(failed)?)
    }
}
