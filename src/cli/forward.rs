//! The signals that dlpack gets while a command of a container runs: they are for that
//! command.

use std::io::{PipeReader, PipeWriter, Write as _};

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::error::{ExitKind, Failure};

/// Those that end a program, stop it, or tell it something.
const FORWARDED: [Number; 7] =
    [Number::HUP, Number::INT, Number::QUIT, Number::TERM, Number::TSTP, Number::USR1, Number::USR2];

/// Catches the signals of this process, from when it is made.
pub struct Forward {
    heard: Vec<(Number, Signal)>,
    to: PipeWriter,
}

/// Begins to catch signals. Their numbers, a byte each, come out of the pipe, and whatever is
/// written into it.
///
/// # Errors
/// Where the system has no room for handlers or pipes.
pub fn pipe() -> Result<(Forward, PipeReader, PipeWriter), Failure> {
    let failed = |source: std::io::Error| Failure::new(ExitKind::Other, source);
    let listen = |number: Number| signal(SignalKind::from_raw(number.as_raw())).map_err(failed);
    let (from, to) = std::io::pipe().map_err(failed)?;
    let also = to.try_clone().map_err(failed)?;
    let heard = FORWARDED.into_iter().map(|number| Ok((number, listen(number)?))).collect::<Result<_, Failure>>()?;
    Ok((Forward { heard, to }, from, also))
}

impl Forward {
    /// What `work` comes to; signals are passed on meanwhile.
    pub async fn during<T>(mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            let number = tokio::select! {
                done = &mut work => return done,
                number = next(&mut self.heard) => number,
            };
            // nobody reads any more: the command is ending
            let _ = self.to.write_all(&[number.as_raw() as u8]);
        }
    }
}

/// The next signal of those that are listened for.
async fn next(heard: &mut [(Number, Signal)]) -> Number {
    std::future::poll_fn(|context| {
        let came =
            heard.iter_mut().find_map(|(number, signal)| signal.poll_recv(context).is_ready().then_some(*number));
        came.map_or(std::task::Poll::Pending, std::task::Poll::Ready)
    })
    .await
}
