//! A network that can be cut anywhere, in one direction or both.

use std::collections::{HashMap, HashSet};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::peer::{Dial, Io};

/// The ways between members.
#[derive(Default)]
pub(super) struct Net {
    state: Mutex<NetState>,
}

#[derive(Default)]
struct NetState {
    /// What the first sends to the second does not arrive for now.
    cut: HashSet<(u64, u64)>,
    /// Members whose process is gone: connections break and are refused.
    dead: HashSet<u64>,
    /// Bytes after which connections from the first to the second break, once.
    breaks: HashMap<(u64, u64), u64>,
    /// Bytes that went from the first to the second.
    counts: HashMap<(u64, u64), u64>,
    waiting: Vec<Waker>,
}

impl Net {
    fn change(&self, change: impl FnOnce(&mut NetState)) {
        let mut state = self.state.lock();
        change(&mut state);
        state.waiting.drain(..).for_each(Waker::wake);
    }

    /// Loses what goes from one member to another, until it is healed.
    pub(super) fn cut(&self, from: u64, to: u64) {
        self.change(|state| {
            state.cut.insert((from, to));
        });
    }

    /// Loses what goes between two groups of members.
    pub(super) fn split(&self, left: &[u64], right: &[u64]) {
        for (left, right) in left.iter().flat_map(|left| right.iter().map(move |right| (*left, *right))) {
            self.cut(left, right);
            self.cut(right, left);
        }
    }

    pub(super) fn heal(&self) {
        self.change(|state| state.cut.clear());
    }

    pub(super) fn kill(&self, id: u64) {
        self.change(|state| {
            state.dead.insert(id);
        });
    }

    pub(super) fn revive(&self, id: u64) {
        self.change(|state| {
            state.dead.remove(&id);
        });
    }

    /// Breaks the way from one member to another, once, when it has carried so many bytes from now on.
    pub(super) fn break_after(&self, from: u64, to: u64, bytes: u64) {
        self.change(|state| {
            state.breaks.insert((from, to), bytes);
        });
    }

    /// Counts from now on what goes from one member to another.
    pub(super) fn count(&self, from: u64, to: u64) {
        self.state.lock().counts.insert((from, to), 0);
    }

    pub(super) fn counted(&self, from: u64, to: u64) -> u64 {
        self.state.lock().counts[&(from, to)]
    }

    /// Whether a break that was asked for is still to come.
    pub(super) fn will_break(&self, from: u64, to: u64) -> bool {
        self.state.lock().breaks.contains_key(&(from, to))
    }

    /// Whether bytes may go from one to the other now.
    fn poll(&self, from: u64, to: u64, context: &Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state.lock();
        if state.dead.contains(&from) || state.dead.contains(&to) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        // A flow that stops for good would never see another change: it registers each time.
        state.waiting.retain(|waker| !waker.will_wake(context.waker()));
        state.waiting.push(context.waker().clone());
        if state.cut.contains(&(from, to)) { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn carried(&self, from: u64, to: u64, bytes: usize) -> io::Result<()> {
        let mut state = self.state.lock();
        if let Some(count) = state.counts.get_mut(&(from, to)) {
            *count += bytes as u64;
        }
        if let Some(left) = state.breaks.get_mut(&(from, to)) {
            *left = left.saturating_sub(bytes as u64);
            if *left == 0 {
                state.breaks.remove(&(from, to));
                return Err(io::ErrorKind::ConnectionReset.into());
            }
        }
        Ok(())
    }
}

/// Opens ways of one member that the network may spoil.
pub(super) struct FaultyDial {
    pub(super) net: Arc<Net>,
    pub(super) from: u64,
}

impl Dial for FaultyDial {
    fn dial(&self, to: u64, address: &str) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        let (net, from, address) = (self.net.clone(), self.from, address.to_owned());
        Box::pin(async move {
            std::future::poll_fn(|context| net.poll(from, to, context)).await?;
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(Faulty { stream, net, from, to }) as Box<dyn Io>)
        })
    }
}

/// The dialer's end of a connection.
struct Faulty {
    stream: TcpStream,
    net: Arc<Net>,
    from: u64,
    to: u64,
}

impl AsyncRead for Faulty {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.net.poll(self.to, self.from, context) {
            Poll::Ready(Ok(())) => Pin::new(&mut self.stream).poll_read(context, buffer),
            other => other,
        }
    }
}

impl AsyncWrite for Faulty {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.net.poll(self.from, self.to, context) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(written)) = written {
            self.net.carried(self.from, self.to, written)?;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
