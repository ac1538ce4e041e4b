//! Foreign descriptors under watch.
//!
//! The kernel's poll is made once for each report, and armed again in the turn after: so a
//! descriptor that stays ready is told once a turn. A completion carries the watch's place and a
//! count of the watches that had that place, so that one for a watch that was changed or removed is
//! known and dropped.

use std::collections::HashMap;

use crate::{Descriptor, Interest, Token};

struct Watch {
    token: Token,
    descriptor: Descriptor,
    interest: Interest,
}

#[derive(Default)]
struct Place {
    watch: Option<Watch>,
    count: u32,
    armed: bool,
}

/// All watches.
#[derive(Default)]
pub(super) struct Polls {
    places: Vec<Place>,
    free: Vec<u32>,
    by_descriptor: HashMap<Descriptor, u32>,
    /// Places to arm in the next turn.
    idle: Vec<u32>,
}

/// What to submit.
pub(super) struct Arm {
    pub(super) descriptor: Descriptor,
    pub(super) events: u32,
    pub(super) payload: u64,
}

const PLACE_BITS: u32 = 24;

fn payload(number: u32, count: u32) -> u64 {
    u64::from(number) | u64::from(count) << PLACE_BITS
}

impl Polls {
    /// Watch, or change the watch. Returns the payload of a poll to remove.
    pub(super) fn set(
        &mut self,
        descriptor: Descriptor,
        token: Token,
        interest: Interest,
    ) -> Option<u64> {
        let removed = self.remove(descriptor, None);
        let number = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            (self.places.len() - 1) as u32
        });
        assert!(
            number < 1 << PLACE_BITS,
            "more watched descriptors than a process can have"
        );
        self.places[number as usize].watch = Some(Watch {
            token,
            descriptor,
            interest,
        });
        self.by_descriptor.insert(descriptor, number);
        self.idle.push(number);
        removed
    }

    /// Watch no more, if the watch is `owner`'s. Returns the payload of a poll to remove.
    pub(super) fn remove(&mut self, descriptor: Descriptor, owner: Option<Token>) -> Option<u64> {
        let number = *self.by_descriptor.get(&descriptor)?;
        let place = &mut self.places[number as usize];
        let watch = place.watch.as_ref().expect("a watch");
        if owner.is_some_and(|owner| owner != watch.token) {
            return None;
        }
        let removed = place.armed.then(|| payload(number, place.count));
        *place = Place {
            watch: None,
            count: place.count.wrapping_add(1),
            armed: false,
        };
        self.by_descriptor.remove(&descriptor);
        self.idle.retain(|idle| *idle != number);
        self.free.push(number);
        removed
    }

    /// The next watch that is not armed.
    pub(super) fn arm(&mut self) -> Option<Arm> {
        let number = self.idle.pop()?;
        let place = &mut self.places[number as usize];
        let watch = place.watch.as_ref().expect("a watch");
        place.armed = true;
        let mut events = 0;
        if watch.interest.read {
            events |= libc::POLLIN;
        }
        if watch.interest.write {
            events |= libc::POLLOUT;
        }
        let payload = payload(number, place.count);
        Some(Arm {
            descriptor: watch.descriptor,
            events: events as u32,
            payload,
        })
    }

    /// A poll completed with `result`, events or a negative errno: whom to tell, and what.
    pub(super) fn complete(&mut self, payload: u64, result: i32) -> Option<(Token, Interest)> {
        let number = (payload & ((1 << PLACE_BITS) - 1)) as u32;
        let place = &mut self.places[number as usize];
        if u64::from(place.count) != payload >> PLACE_BITS {
            return None;
        }
        let watch = place.watch.as_ref()?;
        place.armed = false;
        self.idle.push(number);
        // A descriptor that cannot be polled is ready: its owner's next operation tells why.
        let broken = result < 0 || result & i32::from(libc::POLLERR | libc::POLLHUP) != 0;
        let has = |event: i16| broken || result & i32::from(event) != 0;
        let read = watch.interest.read && has(libc::POLLIN);
        let write = watch.interest.write && has(libc::POLLOUT);
        Some((watch.token, Interest { read, write }))
    }
}
