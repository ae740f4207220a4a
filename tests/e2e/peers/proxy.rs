//! A wire that can be cut between the gateway and a server, while everybody else stays connected.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::process::free_port;

const LOOK_EVERY: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    target: SocketAddr,
    wire: Arc<Wire>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
pub(crate) struct Wire {
    cut: AtomicBool,
    held: AtomicBool,
    /// Both ends of everything that goes through.
    open: Mutex<Vec<TcpStream>>,
    /// How many bytes more of the server's a connection carries, by the port that the server sees.
    budgets: Mutex<HashMap<u16, usize>>,
}

impl Wire {
    /// Cuts what is open. New connections go through.
    pub(crate) fn cut_connections(&self) {
        for stream in locked(&self.open).drain(..) {
            // It may be closed already.
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    /// Cuts one connection after so many more bytes of the server's.
    pub(crate) fn cut_after(&self, port_seen: u16, bytes: usize) {
        locked(&self.budgets).insert(port_seen, bytes);
    }

    /// Carries nothing more, and keeps every connection: as a cable that was pulled out.
    pub(crate) fn hold(&self) {
        self.held.store(true, Ordering::SeqCst);
    }

    pub(crate) fn release(&self) {
        self.held.store(false, Ordering::SeqCst);
    }

    /// Waits while nothing is carried, then takes from what this connection may still carry.
    fn allowed(&self, port_seen: u16, wanted: usize) -> usize {
        while self.held.load(Ordering::SeqCst) && !self.cut.load(Ordering::SeqCst) {
            thread::sleep(LOOK_EVERY);
        }
        let mut budgets = locked(&self.budgets);
        let Some(budget) = budgets.get_mut(&port_seen) else { return wanted };
        let allowed = wanted.min(*budget);
        *budget -= allowed;
        allowed
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proxy {
    pub(crate) fn to(target: SocketAddr) -> Self {
        let mut proxy = Self { port: free_port(), target, wire: Arc::default(), accepting: None };
        proxy.mend();
        proxy
    }

    pub(crate) fn wire(&self) -> Arc<Wire> {
        self.wire.clone()
    }

    /// Cuts every connection; new ones are refused.
    pub(crate) fn cut(&mut self) {
        let Some(accepting) = self.accepting.take() else { return };
        self.wire.cut.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which takes the listener with it.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        accepting.join().expect("the proxy does not panic");
        self.wire.cut_connections();
    }

    pub(crate) fn mend(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).expect("our own port");
        self.wire.cut.store(false, Ordering::SeqCst);
        let (wire, target) = (self.wire.clone(), self.target);
        self.accepting = Some(thread::spawn(move || carry(&listener, target, &wire)));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
    }
}

fn carry(listener: &TcpListener, target: SocketAddr, wire: &Arc<Wire>) {
    for near in listener.incoming() {
        if wire.cut.load(Ordering::SeqCst) {
            return;
        }
        let (Ok(near), Ok(far)) = (near, TcpStream::connect(target)) else { continue };
        let port_seen = far.local_addr().map_or(0, |address| address.port());
        // The port may have been another connection's before.
        locked(&wire.budgets).remove(&port_seen);
        // 0 is nobody's port: what clients send has no limit.
        copy(&near, &far, wire.clone(), 0);
        copy(&far, &near, wire.clone(), port_seen);
        locked(&wire.open).extend([near, far]);
    }
}

fn copy(from: &TcpStream, to: &TcpStream, wire: Arc<Wire>, port_seen: u16) {
    let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else { return };
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            let allowed = wire.allowed(port_seen, count);
            if to.write_all(&bytes[..allowed]).is_err() || allowed < count {
                break;
            }
        }
        // Whoever was at the other end may be gone already.
        drop(to.shutdown(Shutdown::Both));
        drop(from.shutdown(Shutdown::Both));
    });
}
