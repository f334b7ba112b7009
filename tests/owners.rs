//! Owners are those that a real root gives.
