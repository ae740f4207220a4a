//! Work that goes on when whoever waits for it goes away.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// Work that must not end between the store and the pump. A caller may go away at any moment, as an HTTP
/// client does that hangs up; what it left in the store would then wait for the next start. Dropped early, the
/// work goes on as a task of its own.
pub(super) struct ToItsEnd<F>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    work: Option<Pin<Box<F>>>,
    tasks: TaskTracker,
}

impl<F> ToItsEnd<F>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    pub(super) fn new(work: F, tasks: TaskTracker) -> Self {
        Self { work: Some(Box::pin(work)), tasks }
    }
}

impl<F> Future for ToItsEnd<F>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    type Output = F::Output;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let work = self.work.as_mut().expect("it is not polled after its end");
        let polled = work.as_mut().poll(context);
        if polled.is_ready() {
            self.work = None;
        }
        polled
    }
}

impl<F> Drop for ToItsEnd<F>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn drop(&mut self) {
        // Without a runtime the process ends, and its next start finds what was kept.
        if let (Some(work), Ok(runtime)) = (self.work.take(), Handle::try_current()) {
            drop(self.tasks.spawn_on(work, &runtime));
        }
    }
}
