//! Compiles the protos in `api/peer` to Rust, without protoc.

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    // Seen from the crate, in which this runs: a target folder may be shared by several checkouts.
    let folder = Path::new("../../api/peer/v1");
    println!("cargo:rerun-if-changed={}", folder.display());
    let descriptors = protox::compile(["peer.proto"], [folder])?;
    tonic_prost_build::configure()
        .build_transport(false)
        // Entries and records are sliced out of what was received, not copied.
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
