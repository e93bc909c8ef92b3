//! Calls into openraft that may not be dropped half way.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// A future that goes on by itself when its caller drops it.
///
/// A caller of openraft who finds the core stopped waits for the core's end, and the others wait for that caller. If it
/// is dropped meanwhile (a timeout, a request that its client gave up), every later call panics (openraft
/// 0.10.0-alpha.37, `RaftInner::get_core_stop_error`). So whatever may find the core stopped is called through this.
/// Costs one allocation a call, and a task only for a call that was dropped.
pub(crate) struct Complete<F: Future + Send + 'static>(Option<Pin<Box<F>>>);

/// Makes `future` one that always comes to its end. Must be dropped within a tokio runtime for that.
pub(crate) fn complete<F: Future + Send + 'static>(future: F) -> Complete<F> {
    Complete(Some(Box::pin(future)))
}

impl<F: Future + Send + 'static> Future for Complete<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(future) = &mut self.0 else { return Poll::Pending };
        let polled = future.as_mut().poll(context);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<F: Future + Send + 'static> Drop for Complete<F> {
    fn drop(&mut self) {
        if let (Some(future), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(async move {
                future.await;
            });
        }
    }
}
