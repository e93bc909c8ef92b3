//! Whether what clients saw can have happened. [`register`] looks at one object, [`order`] at
//! the revisions of all, [`watch`] at what watchers were told.
//!
//! Each checker has tests in which a fault is planted and must be found: one that finds nothing proves nothing.

pub mod order;
pub mod register;
pub mod watch;
