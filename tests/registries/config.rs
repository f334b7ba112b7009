//! `registries.conf`: mirrors, locations, prefixes.
