//! How every loop talks to an API server: making a [`Client`], shared caches fed by list and watch, work queues,
//! Events and leader election.
//!
//! It must not know how the server works, nor what any kind means. Start reading at [`informer`], then [`reflector`].
//!
//! A loop in five lines:
//! ```ignore
//! let informers = client::Informers::new(client.clone(), shutdown.clone());
//! let pods = informers.get::<SlimPod>(Scope::all());       // one list+watch a process, however many ask for it
//! let mut changes = pods.subscribe();                       // first the current contents, then what changes
//! pods.synced().await;                                      // the store now holds a complete list
//! while let Some(change) = changes.next().await { queue.add(change.key); }
//! ```

pub mod balanced;
mod cached;
mod connect;
pub mod election;
pub mod informer;
mod metrics;
pub mod queue;
pub mod recorder;
pub mod reflector;
mod servers;
mod store;

pub use balanced::Balanced;
pub use cached::{Cached, ObjectKey, Scope, Source};
pub use connect::{Error, from_kubeconfig, from_kubeconfig_with_agent, in_process};
pub use informer::{Informer, Informers};
pub use kube::Client;
pub use queue::WorkQueue;
pub use recorder::{EventType, ObjectReference, Recorder};
pub use servers::Servers;
pub use store::{Change, Handler, Index, Store, Subscription};
