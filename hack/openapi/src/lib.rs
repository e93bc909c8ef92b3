#[cfg(feature = "generate")]
pub mod kinds;
