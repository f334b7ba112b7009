//! What is fuzzed. `fuzz_targets/` has an entry point for each target, `corpus/` what each begins
//! with; `scripts/fuzz` runs them, and `tests/fuzz_corpora.rs` replays the corpora.

pub mod targets;
