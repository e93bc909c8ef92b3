//! The Container Runtime Interface v1: a client over a unix socket, the traits that the kubelet works with, and a
//! scripted fake of them for tests.
//!
//! It must not know Pods as API objects. Start reading at [`service`], then [`client`].

pub mod client;
pub mod containerd;
pub mod error;
pub mod events;
pub mod fake;
pub mod service;

pub use client::Remote;
pub use error::Error;
pub use events::{Event, EventKind};
pub use service::{EventStream, ImageService, RuntimeService};

/// The messages of CRI v1, generated from `api/cri/runtime.proto`.
#[allow(clippy::all, rust_2018_idioms, missing_docs)]
pub mod v1 {
    tonic::include_proto!("runtime.v1");
}

/// containerd's own services, of which CRI has no equivalent.
#[allow(clippy::all, rust_2018_idioms, missing_docs)]
mod containerd_proto {
    pub mod events {
        tonic::include_proto!("containerd.services.events.v1");
    }
    pub mod content {
        tonic::include_proto!("containerd.services.content.v1");
    }
    pub mod images {
        tonic::include_proto!("containerd.services.images.v1");
    }
    pub mod leases {
        tonic::include_proto!("containerd.services.leases.v1");
    }
}
