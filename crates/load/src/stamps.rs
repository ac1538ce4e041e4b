//! When the messages in flight on a connection were sent. Messages that left together share one
//! entry, so a deep pipeline costs one entry per send and not one per message.

use std::collections::VecDeque;

use crate::clock::Nanoseconds;

/// The messages in flight, oldest first.
#[derive(Debug, Default)]
pub struct Stamps {
    runs: VecDeque<(Nanoseconds, u32)>,
}

impl Stamps {
    /// `count` messages left at `time`.
    pub fn push(&mut self, time: Nanoseconds, count: u32) {
        match self.runs.back_mut() {
            Some((last, many)) if *last == time => *many += count,
            _ => self.runs.push_back((time, count)),
        }
    }

    /// The `count` oldest messages came back; tell `each` run of them when it left and how many
    /// they are.
    pub fn pop(&mut self, mut count: u32, mut each: impl FnMut(Nanoseconds, u32)) {
        while count > 0 {
            let Some((time, many)) = self.runs.front_mut() else {
                return;
            };
            let taken = count.min(*many);
            each(*time, taken);
            *many -= taken;
            count -= taken;
            if *many == 0 {
                self.runs.pop_front();
            }
        }
    }

    /// When the oldest message in flight left.
    pub fn oldest(&self) -> Option<Nanoseconds> {
        self.runs.front().map(|(time, _)| *time)
    }

    /// Forget all, and give the memory back; tell `each` run of them when it left and how many they
    /// are.
    pub fn drain(&mut self, mut each: impl FnMut(Nanoseconds, u32)) {
        for (time, count) in std::mem::take(&mut self.runs) {
            each(time, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_in_the_order_in_which_they_left() {
        let mut stamps = Stamps::default();
        stamps.push(10, 3);
        stamps.push(10, 1);
        stamps.push(20, 2);
        assert_eq!(stamps.oldest(), Some(10));
        let mut popped = Vec::new();
        stamps.pop(5, |time, count| popped.push((time, count)));
        assert_eq!(popped, [(10, 4), (20, 1)]);
        assert_eq!(stamps.oldest(), Some(20));
        stamps.pop(9, |time, count| popped.push((time, count)));
        assert_eq!(popped[2..], [(20, 1)]);
        assert_eq!(stamps.oldest(), None);
        stamps.push(30, 7);
        stamps.drain(|time, count| popped.push((time, count)));
        assert_eq!(popped[3..], [(30, 7)]);
        assert_eq!(stamps.oldest(), None);
    }
}
