//! Registries: what is pushed is pulled again, whatever the network does meanwhile,
//! and credentials stay where they belong.

mod config;
mod real;
