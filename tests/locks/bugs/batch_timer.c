/* source: https://github.com/vmware/concord-bft/pull/2512
 * order: inversion, hang: deadlock, repaired: nothing
 * The timers' lock is held while a timer's callback wants the batch's; who adds to a batch resets
 * the timer under the batch's lock. */
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
