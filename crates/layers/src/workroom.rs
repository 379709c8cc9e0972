//! Working memory of a layer's passes, which lanes on the same thread share.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, ThreadId},
};

use conv_kernels::{Scalar, Scratch};

/// What a pass works in: nothing in it outlives the pass.
#[derive(Debug, Default)]
struct Room<T> {
    /// Who was here last: its caches hold it.
    user: Option<ThreadId>,
    scratch: Scratch<T>,
}

/// The rooms of a layer. There is one for each memo, so nobody waits for one; but whoever comes again gets the same one
/// again, while the others stay untouched: a batch goes through a few rooms, which the caches hold, not through one a lane.
pub(crate) struct Rooms<T>(Mutex<Vec<Room<T>>>);

/// The right to a room, whichever it is.
pub(crate) struct Claim<T>(Arc<Rooms<T>>);

impl<T> Rooms<T> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Vec::new())))
    }

    /// The rooms that are free. No pass holds the lock, so nothing can be half done when a thread panics.
    fn free(&self) -> MutexGuard<'_, Vec<Room<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Scalar> Claim<T> {
    /// A claim, and a room for it.
    pub(crate) fn new(rooms: &Arc<Rooms<T>>, scratch: Scratch<T>) -> Self {
        rooms.free().push(Room { user: None, scratch });
        Self(Arc::clone(rooms))
    }

    /// Works in a room: the one that this thread had before, or else one that nobody had.
    pub(crate) fn enter<R>(&self, work: impl FnOnce(&mut Scratch<T>) -> R) -> R {
        let me = Some(thread::current().id());
        let mut free = self.0.free();
        let mine = free.iter().position(|room| room.user == me);
        let index = mine.or_else(|| free.iter().position(|room| room.user.is_none())).unwrap_or(0);
        let mut room = if free.is_empty() { Room::default() } else { free.swap_remove(index) };
        drop(free);
        room.user = me;
        let result = work(&mut room.scratch);
        self.0.free().push(room);
        result
    }
}

/// A claim that ends takes a room away: there are as many as claims.
impl<T> Drop for Claim<T> {
    fn drop(&mut self) {
        self.0.free().pop();
    }
}

impl<T> fmt::Debug for Claim<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claim")
    }
}

impl<T> fmt::Debug for Rooms<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rooms").field(&self.free().len()).finish()
    }
}
