//! What people type who come from docker, and what to type here: a tip in place of clap's own.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// What docker is told to pass a terminal on: taken, and without effect, since one is passed on
/// wherever there is one.
#[derive(Debug, clap::Args)]
pub struct Terminal {
    #[arg(short, long = "interactive", hide = true)]
    _interactive: bool,
    #[arg(short, long = "tty", hide = true)]
    _tty: bool,
}

/// What a verb is given that dlpack has not, and what to do in its stead.
struct Habit {
    verbs: &'static [&'static str],
    options: &'static [&'static str],
    instead: &'static str,
}

const CONTAINERS: &[&str] = &["run", "shell"];

/// docker-run(1), docker-build(1), docker-push(1), as far as they are typed every day.
const HABITS: &[Habit] = &[
    Habit {
        verbs: &["run", "shell", "exec"],
        options: &["-d", "--detach"],
        instead: "there is no daemon: append `&`, or use tmux or the scheduler; `--name` lets `dlpack exec` and `stop` find it",
    },
    Habit {
        verbs: CONTAINERS,
        options: &["--ipc"],
        instead: "leave it out: /dev/shm may grow to half of the memory, or to `--shm-size`",
    },
    Habit {
        verbs: CONTAINERS,
        options: &["--ulimit", "--memory", "-m", "--cpus"],
        instead: "leave it out: the container's limits are those of your shell or job",
    },
    Habit {
        verbs: CONTAINERS,
        options: &["--privileged", "--cap-add", "--security-opt"],
        instead: "leave it out: the container may do what you may; `--root` lets it install packages",
    },
    Habit { verbs: CONTAINERS, options: &["--runtime"], instead: "`--gpus all` needs no runtime of NVIDIA's" },
    Habit { verbs: CONTAINERS, options: &["--mount"], instead: "write `-v HOST:CONTAINER[:ro]`" },
    Habit { verbs: CONTAINERS, options: &["--device"], instead: "write `-v /dev/NAME:/dev/NAME`; for GPUs, `--gpus`" },
    Habit { verbs: &["build"], options: &["-t", "--tag"], instead: "the name stands by itself: `dlpack build NAME`" },
    Habit {
        verbs: &["build"],
        options: &["-f", "--file"],
        instead: "`-r FILE` names a recipe; `dlpack init` writes one that says what a Dockerfile says",
    },
    Habit { verbs: &["build", "push"], options: &["--build-arg"], instead: "write `--set KEY=VALUE`" },
    Habit { verbs: &["push"], options: &["-t", "--tag"], instead: "the name stands by itself: `dlpack push NAME`" },
];

/// `error` with the tip that fits it, if it is about a habit.
pub fn answered(mut error: clap::Error) -> clap::Error {
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    let text = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    let (usage, option) = (text(ContextKind::Usage), text(ContextKind::InvalidArg));
    // "Usage: dlpack VERB [OPTIONS]"
    let verb = usage.split_whitespace().nth(2).unwrap_or_default();
    let fits = |habit: &&Habit| habit.verbs.contains(&verb) && habit.options.contains(&&*option);
    if let Some(habit) = HABITS.iter().find(fits) {
        error.remove(ContextKind::SuggestedArg);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![habit.instead.into()]));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_habit_is_of_a_verb_and_is_no_option_of_it() {
        let dlpack = super::super::command();
        for habit in HABITS {
            for verb in habit.verbs {
                let verb = dlpack.find_subcommand(verb).unwrap();
                for option in habit.options {
                    let name = option.trim_start_matches('-');
                    let taken = verb.get_arguments().any(|argument| {
                        argument.get_long() == Some(name)
                            || argument.get_short().is_some_and(|it| name == it.to_string())
                    });
                    assert!(!taken, "{} {option}", verb.get_name());
                }
            }
        }
    }
}
