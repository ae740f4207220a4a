//! A wire that can be cut between the gateway and a server, while everybody else stays connected.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use crate::process::free_port;

#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    target: SocketAddr,
    wire: Arc<Wire>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Wire {
    cut: AtomicBool,
    /// Both ends of everything that goes through.
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub(crate) fn to(target: SocketAddr) -> Self {
        let mut proxy = Self { port: free_port(), target, wire: Arc::default(), accepting: None };
        proxy.mend();
        proxy
    }

    /// Cuts every connection; new ones are refused.
    pub(crate) fn cut(&mut self) {
        let Some(accepting) = self.accepting.take() else { return };
        self.wire.cut.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which takes the listener with it.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        accepting.join().expect("the proxy does not panic");
        for stream in self.wire.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // It may be closed already.
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    pub(crate) fn mend(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).expect("our own port");
        self.wire = Arc::default();
        let (wire, target) = (self.wire.clone(), self.target);
        self.accepting = Some(thread::spawn(move || carry(&listener, target, &wire)));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
    }
}

fn carry(listener: &TcpListener, target: SocketAddr, wire: &Wire) {
    for near in listener.incoming() {
        if wire.cut.load(Ordering::SeqCst) {
            return;
        }
        let (Ok(near), Ok(far)) = (near, TcpStream::connect(target)) else { continue };
        copy(&near, &far);
        copy(&far, &near);
        wire.open.lock().unwrap_or_else(PoisonError::into_inner).extend([near, far]);
    }
}

fn copy(from: &TcpStream, to: &TcpStream) {
    let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else { return };
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        // Whoever was at the other end may be gone already.
        drop(to.shutdown(Shutdown::Both));
    });
}
