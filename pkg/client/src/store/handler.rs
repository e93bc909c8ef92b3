//! Functions that are called with each change, in the task of the reflector.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Change;

/// What a function panicked with.
type Panic = Box<dyn Any + Send>;

type Call<T> = Box<dyn FnMut(&Change<T>) + Send>;

/// What the reflector's task knows of a [`Handler`], as long as that is held.
pub(crate) struct Callee<T> {
    /// Nothing is left once the function has panicked. Locked while it runs, which is in one task only.
    function: Mutex<Option<Function<T>>>,
}

struct Function<T> {
    call: Call<T>,
    panicked: oneshot::Sender<Panic>,
}

impl<T> Callee<T> {
    /// False if the function is not to be called any more.
    pub(super) fn call(&self, change: &Change<T>) -> bool {
        let mut slot = self.function.lock();
        let Some(function) = slot.as_mut() else { return false };
        let Err(panic) = catch_unwind(AssertUnwindSafe(|| (function.call)(change))) else { return true };
        if let Some(function) = slot.take() {
            // Nobody receives it if the handler is being dropped.
            let _ = function.panicked.send(panic);
        }
        false
    }
}

/// A function that is called with each change, made by [`Informer::handle`](crate::Informer::handle). It is let go when this
/// is dropped; a call that is under way then still ends.
pub struct Handler<T> {
    callee: Arc<Callee<T>>,
    panicked: oneshot::Receiver<Panic>,
    _running: Arc<dyn Send + Sync>,
}

impl<T> Handler<T> {
    pub(crate) fn new(function: impl FnMut(&Change<T>) + Send + 'static, running: Arc<dyn Send + Sync>) -> Self {
        let (sender, panicked) = oneshot::channel();
        let function = Function { call: Box::new(function), panicked: sender };
        Self { callee: Arc::new(Callee { function: Mutex::new(Some(function)) }), panicked, _running: running }
    }

    pub(crate) fn callee(&self) -> &Arc<Callee<T>> {
        &self.callee
    }

    /// Waits until the function panics, and goes on with its panic: whoever waits fails in its place.
    pub async fn panics(mut self) {
        // The sender goes with the handler, which is held here, or with a panic.
        if let Ok(panic) = (&mut self.panicked).await {
            std::panic::resume_unwind(panic);
        }
    }
}
