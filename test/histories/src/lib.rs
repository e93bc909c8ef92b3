//! Whether what clients saw can have happened. Start reading at [`register::linearizable`].
//!
//! Each checker has tests in which a fault is planted and must be found: one that finds nothing proves nothing.

pub mod register;
