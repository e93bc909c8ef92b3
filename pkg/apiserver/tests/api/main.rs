//! The API as clients see it, over the real store.

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
