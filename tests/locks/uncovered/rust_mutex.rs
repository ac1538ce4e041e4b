// expect: uncovered
// Rust's own mutexes, in both orders.
use std::sync::{Arc, Mutex};
use std::thread;

fn main() {
    let locks = Arc::new((Mutex::new(0), Mutex::new(0)));
    let threads: Vec<_> = [false, true]
        .into_iter()
        .map(|is_reversed| {
            let locks = Arc::clone(&locks);
            thread::spawn(move || {
                let (first, second) = if is_reversed {
                    (&locks.1, &locks.0)
                } else {
                    (&locks.0, &locks.1)
                };
                for _ in 0..10 {
                    if let (Ok(_one), Ok(_other)) = (first.try_lock(), second.try_lock()) {}
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}
