//! The API as clients see it, over the real store.

// A failed expectation is what a test is for, in its helpers, too.
#![allow(clippy::unwrap_used)]

mod access;
mod apply;
mod bodies;
mod deletion;
mod documents;
mod dry_run;
mod encodings;
mod fairness;
mod floods;
mod joining;
mod kinds;
mod limits;
mod lists;
mod matrix;
mod messages;
mod network;
mod objects;
mod paths;
mod pods;
mod quota;
mod samples;
mod services;
mod snapshots;
mod streams;
mod support;
mod views;
mod watches;
mod writes;
