//! What tests stand on: real parts started for them, and fakes that inject faults.
