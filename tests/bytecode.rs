//! Bytecode of a venv.
