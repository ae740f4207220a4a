//! Before several gateways: whoever connects gets to one that is not known to be out, each time another. As a balancer
//! does that asks each of them now and then how it is.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Which gateways are out, by number; what balancers of one site agree on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Out(Arc<Mutex<Vec<usize>>>);

impl Out {
    pub(crate) fn set(&self, who: usize, is_out: bool) {
        let mut out = locked(&self.0);
        out.retain(|one| *one != who);
        if is_out {
            out.push(who);
        }
    }

    pub(crate) fn has(&self, who: usize) -> bool {
        locked(&self.0).contains(&who)
    }
}

/// One port of all of them.
#[derive(Debug)]
pub(crate) struct Door {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Where each listens.
    targets: Vec<u16>,
    out: Out,
    next: AtomicUsize,
    /// Both ends of everything that goes through, with whose it is.
    open: Mutex<Vec<(usize, TcpStream)>>,
    closed: Mutex<bool>,
}

impl Door {
    pub(crate) fn on(port: u16, targets: Vec<u16>, out: Out) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("our own port");
        let (next, open, closed) = Default::default();
        let shared = Arc::new(Shared { targets, out, next, open, closed });
        let carrying = shared.clone();
        thread::spawn(move || carry(&listener, &carrying));
        Self { port, shared }
    }

    /// What goes through to this one breaks.
    pub(crate) fn cut(&self, who: usize) {
        locked(&self.shared.open).retain(|(whose, stream)| {
            if *whose == who {
                // It may be closed already.
                drop(stream.shutdown(Shutdown::Both));
            }
            *whose != who
        });
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        *locked(&self.shared.closed) = true;
        // Wakes the accepting thread, which takes the listener with it.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        (0..self.shared.targets.len()).for_each(|who| self.cut(who));
    }
}

fn carry(listener: &TcpListener, shared: &Shared) {
    for near in listener.incoming() {
        if *locked(&shared.closed) {
            return;
        }
        let Ok(near) = near else { continue };
        let count = shared.targets.len();
        let first = shared.next.fetch_add(1, Ordering::Relaxed);
        let turns = (0..count).map(|step| (first + step) % count).filter(|who| !shared.out.has(*who));
        let connect = |who: usize| TcpStream::connect(("127.0.0.1", shared.targets[who])).ok().map(|far| (who, far));
        let Some((who, far)) = turns.into_iter().find_map(connect) else { continue };
        copy(&near, &far);
        copy(&far, &near);
        locked(&shared.open).extend([(who, near), (who, far)]);
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
        drop(from.shutdown(Shutdown::Both));
    });
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
