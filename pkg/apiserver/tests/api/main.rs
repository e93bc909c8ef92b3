//! The API as clients see it, over the real store.

// A failed expectation is what a test is for, in its helpers, too.
#![allow(clippy::unwrap_used)]

mod access;
mod deletion;
mod lists;
mod network;
mod objects;
mod pods;
mod services;
mod streams;
mod support;
mod views;
mod watches;
