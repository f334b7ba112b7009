//! SIGINT and SIGTERM: what is under way comes to a point that the next run goes on
//! from, and the process ends within a second, whatever hangs.

use std::process::ExitCode;
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::error::{Colour, ExitKind, Failure};
use crate::registry::Interrupt;

/// How long uploads may take to end in order.
const GRACE: Duration = Duration::from_millis(400);
/// How long all else may take: then the process is ended from outside of what hangs.
const LAST: Duration = Duration::from_millis(950);

/// Hears signals on a thread of its own: a system call that blocks, such as the lock
/// of a store that is being collected, must not keep them off. Dropped, it listens no
/// more.
pub struct Signals {
    heard: watch::Receiver<Option<ExitKind>>,
}

/// The process's exit status, once it is settled.
static STATUS: OnceLock<u8> = OnceLock::new();

/// Settles how the process ends: by what its work came to, or by a signal, whichever is
/// first. `show` says so where that is `status`: it is said once.
pub fn settle(status: u8, show: impl FnOnce()) -> ExitCode {
    let settled = STATUS.set(status).is_ok();
    if settled {
        show();
    }
    STATUS.get().copied().unwrap_or(status).into()
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// Where the system has no room for handlers or threads.
    pub fn listen() -> Result<Self, Failure> {
        let failed = |source| Failure::new(ExitKind::Other, source);
        let (tell, heard) = watch::channel(None);
        let (ready, listening) = mpsc::channel();
        let listener = std::thread::Builder::new().name("signals".to_owned());
        listener.spawn(move || listen(&ready, &tell)).map_err(failed)?;
        // without an answer the thread has died, which says nothing
        listening.recv().unwrap_or(Ok(())).map_err(failed)?;
        Ok(Self { heard })
    }

    /// Leaves those that come from now on to whoever listens besides.
    ///
    /// # Errors
    /// [`failure`], if one has come.
    pub fn hand_over(self) -> Result<(), Failure> {
        self.heard.borrow().map_or(Ok(()), |kind| Err(failure(kind)))
    }

    /// Waits for a signal.
    pub async fn heard(&self) -> ExitKind {
        let mut heard = self.heard.clone();
        let kind = heard.wait_for(Option::is_some).await.ok().and_then(|kind| *kind);
        match kind {
            Some(kind) => kind,
            None => std::future::pending().await,
        }
    }
}

/// What `work` comes to, or the signal that is heard before. A signal is told to uploads
/// by `interrupt`, which end where they stand; they do so while the rest goes on, and
/// what is done by then is done.
///
/// # Errors
/// Those of `work`; [`failure`].
pub async fn until_heard<T>(
    work: impl Future<Output = Result<T, Failure>>,
    heard: impl Future<Output = ExitKind>,
    interrupt: &Interrupt,
) -> Result<T, Failure> {
    let mut running = std::pin::pin!(work);
    let kind = tokio::select! {
        biased;
        outcome = &mut running => return outcome,
        kind = heard => kind,
    };
    interrupt.tell();
    tokio::select! {
        biased;
        Ok(done) = running => Ok(done),
        () = settled(interrupt) => Err(failure(kind)),
    }
}

/// Waits until the journal has what registries have, but not for long.
async fn settled(interrupt: &Interrupt) {
    let _ = tokio::time::timeout(GRACE, interrupt.settled()).await;
}

/// The failure that a signal is.
pub fn failure(kind: ExitKind) -> Failure {
    let what = if kind == ExitKind::Interrupted { "interrupted" } else { "terminated" };
    Failure::new(kind, what).hint("what has come into the store stays there: the same command goes on from there")
}

fn listen(ready: &mpsc::Sender<std::io::Result<()>>, tell: &watch::Sender<Option<ExitKind>>) {
    let heard = |kind: ExitKind| {
        // nobody listens here any more: it is somebody else's
        if tell.send(Some(kind)).is_err() {
            return;
        }
        std::thread::sleep(LAST);
        settle(kind as u8, || failure(kind).show(&mut std::io::stderr(), Colour::of_stderr()));
        std::process::exit(STATUS.get().copied().unwrap_or(kind as u8).into());
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_io().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(error))),
    };
    runtime.block_on(async {
        let signals = signal(SignalKind::interrupt()).and_then(|it| Ok((it, signal(SignalKind::terminate())?)));
        let (mut interrupt, mut terminate) = match signals {
            Ok(signals) => signals,
            Err(error) => return drop(ready.send(Err(error))),
        };
        let _ = ready.send(Ok(()));
        tokio::select! {
            _ = interrupt.recv() => heard(ExitKind::Interrupted),
            _ = terminate.recv() => heard(ExitKind::Terminated),
            () = tell.closed() => {}
        }
    });
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn what_is_done_is_done_though_a_signal_comes() {
        let done = until_heard(ready(Ok(1)), ready(ExitKind::Interrupted), &Interrupt::default()).await;
        assert_eq!(done.ok(), Some(1));
    }

    #[tokio::test]
    async fn what_a_signal_finds_under_way_may_end_and_what_fails_then_is_the_signals() {
        let interrupt = Interrupt::default();
        let ends = async {
            tokio::task::yield_now().await;
            Ok(1)
        };
        let done = until_heard(ends, ready(ExitKind::Terminated), &interrupt).await;
        assert_eq!(done.ok(), Some(1));

        let breaks = async {
            tokio::task::yield_now().await;
            Err(Failure::new(ExitKind::Network, "broken off"))
        };
        let broken: Result<(), Failure> = until_heard(breaks, ready(ExitKind::Terminated), &interrupt).await;
        assert_eq!(broken.map_err(|failure| failure.exit()), Err(ExitKind::Terminated));
        let never: Result<(), Failure> = until_heard(pending(), ready(ExitKind::Interrupted), &interrupt).await;
        assert_eq!(never.map_err(|failure| failure.exit()), Err(ExitKind::Interrupted));
    }
}
