//! Shared informers: one list and watch for each kind and scope in a process, read by any number of loops.
//!
//! Guarantees: a store never goes back in time; after [`Informer::synced`] it holds a complete list; each subscriber and
//! handler sees every object's last state, deletions included, across reconnects and relists. What a store holds may be
//! older than what the server has: loops re-check live before they do what cannot be undone.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Weak};

use component_base::Shutdown;
use kube::Client;
use parking_lot::Mutex;

use crate::cached::{Cached, Scope, Source};
use crate::reflector;
use crate::store::{Change, Core, Handler, Store, Subscription};

/// Ends the reflector when the last handle is dropped.
struct Running(Shutdown);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.trigger();
    }
}

struct Shared<T> {
    core: Arc<Core<T>>,
    running: Running,
}

/// What makes informers the same.
type Id = (TypeId, Source);

/// The informers of one process (or of one identity in it). Cheap to clone.
#[derive(Clone)]
pub struct Informers {
    client: Client,
    shutdown: Shutdown,
    running: Arc<Mutex<HashMap<Id, Weak<dyn Any + Send + Sync>>>>,
}

impl Informers {
    /// Informers that read through `client` until `shutdown`.
    pub fn new(client: Client, shutdown: Shutdown) -> Self {
        Self { client, shutdown, running: Arc::default() }
    }

    /// The informer of a kind; started if no one holds it yet, and stopped when its last handle is dropped.
    pub fn get<T: Cached>(&self, scope: Scope) -> Informer<T> {
        self.get_at(Source::of::<T>(&scope))
    }

    /// The same for a resource that is known only at run time, or that is read in another form.
    pub fn get_at<T: Cached>(&self, source: Source) -> Informer<T> {
        let mut running = self.running.lock();
        let id = (TypeId::of::<T>(), source);
        let existing = running.get(&id).and_then(Weak::upgrade);
        if let Some(shared) = existing.and_then(|shared| shared.downcast::<Shared<T>>().ok()) {
            return Informer { shared };
        }
        let stop = self.shutdown.child();
        let core = Arc::new(Core::new(id.1.path.clone()));
        let shared = Arc::new(Shared { core: core.clone(), running: Running(stop.clone()) });
        let (client, source) = (self.client.clone(), id.1.clone());
        self.shutdown.spawn(async move {
            tokio::select! {
                biased;
                () = reflector::run(client, source, core.clone(), stop) => {}
                () = core.greet() => {}
            }
        });
        running.retain(|_, shared| shared.strong_count() > 0);
        let weak: Weak<dyn Any + Send + Sync> = Arc::downgrade(&(shared.clone() as Arc<dyn Any + Send + Sync>));
        running.insert(id, weak);
        Informer { shared }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }
}

/// A handle to one shared list and watch. Cheap to clone.
pub struct Informer<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Informer<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<T: Cached> Informer<T> {
    pub fn store(&self) -> Store<T> {
        Store::new(self.shared.core.clone(), self.shared.clone())
    }

    /// Waits until the store holds a complete list.
    pub async fn synced(&self) {
        self.shared.core.synced().await;
    }

    pub fn is_synced(&self) -> bool {
        self.shared.core.is_synced() && !self.shared.running.0.is_triggered()
    }

    /// From now on, every change; first the current contents as additions.
    pub fn subscribe(&self) -> Subscription<T> {
        Subscription::new(self.shared.core.subscribe(), self.shared.clone())
    }

    /// Calls `function` with every change from now on, until the handler is dropped; first with the current contents as
    /// additions. Calls are made in the reflector's task, one after the other in the order of events, without a queue and a
    /// task for each of them, and with no lock held: `function` may read stores (this one is never older than what it is
    /// told) and start handlers. It is for loops that only note what happened; whoever waits or works subscribes.
    ///
    /// A panic ends the handler alone, and is found by [`Handler::panics`].
    #[must_use]
    pub fn handle(&self, function: impl FnMut(&Change<T>) + Send + 'static) -> Handler<T> {
        let handler = Handler::new(function, self.shared.clone());
        self.shared.core.register(handler.callee());
        handler
    }
}
