//! Looking at the store as a whole: what is in it, whether it is sound, and what
//! nobody needs.
