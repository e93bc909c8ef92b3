//! Compiles the protos in `api/cri` to Rust, without protoc.

use std::error::Error;
use std::path::Path;

const PROTOS: [&str; 5] = [
    "runtime.proto",
    "containerd-events.proto",
    "containerd-content.proto",
    "containerd-images.proto",
    "containerd-leases.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    // Seen from the crate, in which this runs: a target folder may be shared by several checkouts.
    let folder = Path::new("../../api/cri");
    println!("cargo:rerun-if-changed={}", folder.display());
    let descriptors = protox::compile(PROTOS, [folder])?;
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        // A container's status is shared between many readers: cheap clones matter more than field order.
        .btree_map(".")
        .compile_fds(descriptors)?;
    Ok(())
}
