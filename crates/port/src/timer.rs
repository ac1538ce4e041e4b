//! Timers: a hierarchical timing wheel.
//!
//! After Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (SOSP 1987), scheme 7. Time is
//! counted in ticks of a millisecond. Wheel `n` has 64 slots of 64^n ticks each; eleven wheels
//! cover all 64 bits of time, so no deadline is too far. A timer lies in the wheel of the highest
//! six-bit group in which its tick differs from the current one, in the slot which that group
//! names. So in every wheel only slots after the current one are in use, and everything in a
//! lower wheel comes before everything in a higher one: the next slot to look at is the lowest bit
//! of the lowest wheel's bitmap.
//!
//! When the time comes to a slot of a higher wheel its timers are spread over the lower wheels:
//! each timer moves at most ten times in its life, and usually once or twice. Inserting, moving and
//! cancelling touch one or two slots and up to two neighbours in each. A timer takes 24 bytes
//! besides its value.

/// Nanoseconds in a tick.
pub const TICK_NANOSECONDS: u64 = 1_000_000;

const GROUP_BITS: u32 = 6;
const SLOTS: usize = 1 << GROUP_BITS;
const WHEELS: usize = 11;
const NONE: u32 = u32::MAX;
/// The `place` of a node that holds no timer.
const NOWHERE: u16 = u16::MAX;

/// Names a timer that was inserted. It goes stale when the timer fires or is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    number: u32,
    generation: u32,
}

/// A timer that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fired<T> {
    /// What was inserted with it.
    pub value: T,
    /// Its key, which is stale by now.
    pub key: Key,
    /// When it was due, in nanoseconds.
    pub due: u64,
}

/// A key that no timer has.
impl Default for Key {
    fn default() -> Self {
        Self {
            number: NONE,
            generation: 0,
        }
    }
}

impl<T> Fired<T> {
    /// The same timer, known by something else.
    pub fn with<U>(self, value: U) -> Fired<U> {
        Fired {
            value,
            key: self.key,
            due: self.due,
        }
    }
}

struct Node<T> {
    due: u64,
    previous: u32,
    next: u32,
    generation: u32,
    place: u16,
    value: Option<T>,
}

#[derive(Clone, Copy)]
struct Slot {
    first: u32,
    last: u32,
}

/// Timers with a value each.
pub struct Wheel<T> {
    /// The latest tick that was advanced to.
    current: u64,
    nodes: Vec<Node<T>>,
    free: u32,
    count: usize,
    slots: Vec<Slot>,
    /// One bit for each slot in use.
    occupied: [u64; WHEELS],
}

impl<T> Wheel<T> {
    /// No timers, at time `now` (nanoseconds of any clock that does not go back).
    pub fn new(now: u64) -> Self {
        Self {
            current: now / TICK_NANOSECONDS,
            nodes: Vec::new(),
            free: NONE,
            count: 0,
            slots: vec![
                Slot {
                    first: NONE,
                    last: NONE
                };
                WHEELS * SLOTS
            ],
            occupied: [0; WHEELS],
        }
    }

    /// How many timers wait.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether no timer waits.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Let `value` come out at `due` (nanoseconds) or up to one tick later, never earlier. A time
    /// that has passed comes out of the next [`Wheel::advance`].
    pub fn insert(&mut self, due: u64, value: T) -> Key {
        let number = self.allocate(due, value);
        self.link(number);
        self.count += 1;
        Key {
            number,
            generation: self.nodes[number as usize].generation,
        }
    }

    /// Move a timer to another time; its key stays. False when it has fired or was cancelled.
    pub fn update(&mut self, key: Key, due: u64) -> bool {
        if !self.waits(key) {
            return false;
        }
        self.unlink(key.number);
        self.nodes[key.number as usize].due = due;
        self.link(key.number);
        true
    }

    /// Take a timer out. `None` when it has fired or was cancelled before.
    pub fn cancel(&mut self, key: Key) -> Option<T> {
        if !self.waits(key) {
            return None;
        }
        self.unlink(key.number);
        Some(self.release(key.number).value)
    }

    fn waits(&self, key: Key) -> bool {
        let node = self.nodes.get(key.number as usize);
        node.is_some_and(|node| node.generation == key.generation && node.place != NOWHERE)
    }

    /// The time has come to `now` (nanoseconds): give `fire` every timer that is due, in the order
    /// of their ticks.
    pub fn advance(&mut self, now: u64, fire: &mut dyn FnMut(Fired<T>)) {
        let target = (now / TICK_NANOSECONDS).max(self.current);
        while let Some((wheel, slot, tick)) = self.next_slot()
            && tick <= target
        {
            self.current = tick;
            let place = wheel * SLOTS + slot;
            let mut number = self.slots[place].first;
            self.slots[place] = Slot {
                first: NONE,
                last: NONE,
            };
            self.occupied[wheel] &= !(1 << slot);
            while number != NONE {
                let next = self.nodes[number as usize].next;
                if tick_of(self.nodes[number as usize].due) <= tick {
                    fire(self.release(number));
                } else {
                    self.link(number);
                }
                number = next;
            }
        }
        self.current = target;
    }

    /// No timer is due before this time (nanoseconds), and advancing to it makes progress: a timer
    /// is due then, or moves to a finer wheel, after which a later time is reported.
    pub fn next_due(&self) -> Option<u64> {
        let (_, _, tick) = self.next_slot()?;
        Some(tick.saturating_mul(TICK_NANOSECONDS))
    }

    /// The first slot in use: its wheel, its number there, and the tick it begins at.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let wheel = self.occupied.iter().position(|bits| *bits != 0)?;
        let slot = self.occupied[wheel].trailing_zeros();
        let shift = wheel as u32 * GROUP_BITS;
        // The groups above the wheel's are those of the current tick.
        let above = self.current.checked_shr(shift + GROUP_BITS).unwrap_or(0);
        let above = above.checked_shl(shift + GROUP_BITS).unwrap_or(0);
        Some((wheel, slot as usize, above | u64::from(slot) << shift))
    }

    fn link(&mut self, number: u32) {
        let tick = tick_of(self.nodes[number as usize].due).max(self.current);
        let differing = (tick ^ self.current) | (SLOTS as u64 - 1);
        let wheel = (differing.ilog2() / GROUP_BITS) as usize;
        let slot = (tick >> (wheel as u32 * GROUP_BITS)) as usize % SLOTS;
        let place = wheel * SLOTS + slot;
        let last = self.slots[place].last;
        let node = &mut self.nodes[number as usize];
        node.place = place as u16;
        node.previous = last;
        node.next = NONE;
        self.slots[place].last = number;
        if last == NONE {
            self.slots[place].first = number;
            self.occupied[wheel] |= 1 << slot;
        } else {
            self.nodes[last as usize].next = number;
        }
    }

    fn unlink(&mut self, number: u32) {
        let Node {
            previous,
            next,
            place,
            ..
        } = self.nodes[number as usize];
        let place = usize::from(place);
        match previous {
            NONE => self.slots[place].first = next,
            previous => self.nodes[previous as usize].next = next,
        }
        match next {
            NONE => self.slots[place].last = previous,
            next => self.nodes[next as usize].previous = previous,
        }
        if self.slots[place].first == NONE {
            self.occupied[place / SLOTS] &= !(1 << (place % SLOTS));
        }
    }

    fn allocate(&mut self, due: u64, value: T) -> u32 {
        if self.free == NONE {
            assert!(
                self.nodes.len() < NONE as usize,
                "four thousand million timers"
            );
            let (previous, next) = (NONE, NONE);
            let value = Some(value);
            self.nodes.push(Node {
                due,
                previous,
                next,
                generation: 0,
                place: NOWHERE,
                value,
            });
            return (self.nodes.len() - 1) as u32;
        }
        let number = self.free;
        let node = &mut self.nodes[number as usize];
        self.free = node.next;
        node.due = due;
        node.value = Some(value);
        number
    }

    fn release(&mut self, number: u32) -> Fired<T> {
        let node = &mut self.nodes[number as usize];
        let generation = node.generation;
        node.place = NOWHERE;
        node.generation = node.generation.wrapping_add(1);
        node.next = self.free;
        self.free = number;
        self.count -= 1;
        Fired {
            value: node.value.take().expect("a node in use has a value"),
            key: Key { number, generation },
            due: node.due,
        }
    }
}

/// The tick at which what is due then may fire.
fn tick_of(due: u64) -> u64 {
    due.div_ceil(TICK_NANOSECONDS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use std::num::NonZeroU64;

    use super::*;

    #[test]
    fn a_timer_takes_twenty_four_bytes_besides_its_value() {
        assert_eq!(size_of::<Node<NonZeroU64>>(), 24 + size_of::<NonZeroU64>());
    }

    #[derive(Clone, Debug)]
    enum Act {
        Insert(u64),
        InsertLate(u64),
        Update(usize, u64),
        Cancel(usize),
        Advance(u64),
        AdvanceToNext,
    }

    /// Delays from nanoseconds to centuries.
    fn delay() -> impl Strategy<Value = u64> {
        (0..60_u32, any::<u64>()).prop_map(|(bits, random)| random & ((1 << bits) - 1))
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => delay().prop_map(Act::Insert),
            1 => delay().prop_map(Act::InsertLate),
            1 => (any::<usize>(), delay()).prop_map(|(which, after)| Act::Update(which, after)),
            1 => any::<usize>().prop_map(Act::Cancel),
            2 => delay().prop_map(Act::Advance),
            1 => Just(Act::AdvanceToNext),
        ]
    }

    /// The timers as a sorted map of tick and name.
    #[derive(Default)]
    struct Model {
        waiting: BTreeMap<(u64, usize), Key>,
    }

    impl Model {
        fn due(&mut self, now: u64) -> Vec<(u64, usize)> {
            let later = self.waiting.split_off(&(now / TICK_NANOSECONDS + 1, 0));
            std::mem::replace(&mut self.waiting, later)
                .into_keys()
                .collect()
        }
    }

    proptest! {
        #[test]
        fn timers_fire_as_in_a_sorted_map(
            start in delay(),
            acts in prop::collection::vec(act(), 1..200),
        ) {
            let mut now = start;
            let mut wheel = Wheel::new(now);
            let mut model = Model::default();
            // The tick in which each was inserted.
            let mut floor = vec![0; acts.len()];
            for (name, act) in acts.into_iter().enumerate() {
                match act {
                    Act::Insert(_) | Act::InsertLate(_) => {
                        let due = match act {
                            Act::InsertLate(before) => now.saturating_sub(before),
                            Act::Insert(after) => now.saturating_add(after),
                            _ => unreachable!("only these"),
                        };
                        // What has passed is due in the current tick.
                        floor[name] = now / TICK_NANOSECONDS;
                        let tick = due.div_ceil(TICK_NANOSECONDS).max(floor[name]);
                        let key = wheel.insert(due, name);
                        model.waiting.insert((tick, name), key);
                    }
                    Act::Cancel(which) if !model.waiting.is_empty() => {
                        let which = which % model.waiting.len();
                        let (&timer, &key) = model.waiting.iter().nth(which).expect("a timer");
                        model.waiting.remove(&timer);
                        prop_assert_eq!(wheel.cancel(key), Some(timer.1));
                        prop_assert_eq!(wheel.cancel(key), None);
                    }
                    Act::Update(which, after) if !model.waiting.is_empty() => {
                        let which = which % model.waiting.len();
                        let (&timer, &key) = model.waiting.iter().nth(which).expect("a timer");
                        model.waiting.remove(&timer);
                        let due = now.saturating_add(after);
                        prop_assert!(wheel.update(key, due));
                        // It goes by the name that it was inserted with.
                        model.waiting.insert((due.div_ceil(TICK_NANOSECONDS), timer.1), key);
                    }
                    Act::Update(..) | Act::Cancel(_) => (),
                    Act::Advance(_) | Act::AdvanceToNext => {
                        now = match act {
                            Act::Advance(by) => now.saturating_add(by),
                            _ => wheel.next_due().unwrap_or(now).max(now),
                        };
                        let mut fired = Vec::new();
                        wheel.advance(now, &mut |timer| {
                            // What was due before it was inserted is due in that tick.
                            let tick = timer.due.div_ceil(TICK_NANOSECONDS);
                            fired.push((tick.max(floor[timer.value]), timer.value));
                        });
                        prop_assert!(fired.is_sorted_by_key(|(tick, _)| *tick));
                        fired.sort_unstable();
                        prop_assert_eq!(fired, model.due(now));
                    }
                }
                prop_assert_eq!(wheel.len(), model.waiting.len());
                let first = model.waiting.first_key_value().map(|((tick, _), _)| *tick);
                let next = wheel.next_due();
                prop_assert_eq!(next.is_some(), first.is_some());
                prop_assert!(next <= first.map(|tick| tick.saturating_mul(TICK_NANOSECONDS)));
            }
        }
    }

    #[test]
    fn advancing_from_one_told_time_to_the_next_comes_to_every_timer_in_few_steps() {
        let mut wheel = Wheel::new(0);
        let hour = 3_600_000 * TICK_NANOSECONDS;
        wheel.insert(hour, ());
        let (mut steps, mut fired_at) = (0, None);
        while let Some(now) = wheel.next_due() {
            wheel.advance(now, &mut |_| fired_at = Some(now));
            steps += 1;
        }
        assert_eq!(fired_at, Some(hour));
        assert!(steps <= 4, "{steps} steps");
    }

    #[test]
    fn a_stale_key_does_not_cancel_the_timer_that_took_its_place() {
        let mut wheel = Wheel::new(0);
        let stale = wheel.insert(5 * TICK_NANOSECONDS, "first");
        assert_eq!(wheel.cancel(stale), Some("first"));
        let fresh = wheel.insert(5 * TICK_NANOSECONDS, "second");
        assert_eq!(wheel.cancel(stale), None);
        assert_eq!(wheel.cancel(fresh), Some("second"));
    }
    #[test]
    fn a_timer_that_was_moved_fires_at_its_new_time_and_keeps_its_key() {
        let mut wheel = Wheel::new(0);
        let key = wheel.insert(5 * TICK_NANOSECONDS, "moved");
        assert!(wheel.update(key, 70 * TICK_NANOSECONDS));
        let mut fired = Vec::new();
        wheel.advance(69 * TICK_NANOSECONDS, &mut |timer| fired.push(timer));
        assert_eq!(fired, []);
        wheel.advance(70 * TICK_NANOSECONDS, &mut |timer| fired.push(timer));
        let due = 70 * TICK_NANOSECONDS;
        assert_eq!(
            fired,
            [Fired {
                value: "moved",
                key,
                due
            }]
        );
        assert!(!wheel.update(key, due));
        assert!(wheel.is_empty());
    }
}
