/* source: https://github.com/vmware/concord-bft/pull/2512
 * order: inversion, hang: deadlock, repaired: nothing
 * A timer's callback runs under the lock of the timers, and wants the lock of the batch. Another
 * thread holds the lock of the batch and resets the timer. */
#include "bugs.h"
MUTEX(timers);
MUTEX(batch);
static void on_flush(void) { LOCK(batch); UNLOCK(batch); }
THREAD(evaluates_timers) {
    LOCK(timers); meet();
    if (repaired) UNLOCK(timers);
    on_flush();
    if (!repaired) UNLOCK(timers);
    return unused;
}
THREAD(adds_request) { LOCK(batch); meet(); LOCK(timers); UNLOCK(timers); UNLOCK(batch); return unused; }
PROGRAM(evaluates_timers, adds_request)
