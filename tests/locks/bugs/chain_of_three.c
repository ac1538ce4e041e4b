/* source: https://github.com/google/sanitizers/issues/814
 * order: nothing
 * One thread takes a chain of locks, one after the other. Another thread completes the cycle of
 * orders. */
#include "bugs.h"
MUTEX(a);
MUTEX(b);
MUTEX(c);
THREAD(hand_over_hand) {
    for (int i = 0; i < 100; i++) {
        LOCK(a); LOCK(b); UNLOCK(a);
        LOCK(c); UNLOCK(c); UNLOCK(b);
    }
    return unused;
}
THREAD(closes_the_ring) {
    for (int i = 0; i < 100; i++) { LOCK(c); LOCK(a); UNLOCK(a); UNLOCK(c); }
    return unused;
}
PROGRAM(hand_over_hand, closes_the_ring)
