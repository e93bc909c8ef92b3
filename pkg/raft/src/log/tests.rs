//! Tests of the log alone.
