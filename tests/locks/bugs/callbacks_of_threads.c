/* source: https://github.com/rakshasa/libtorrent/pull/708
 * order: inversion, hang: deadlock, repaired: nothing
 * Callbacks run under the lock of their queue. Three components form a cycle through them. */
#include "bugs.h"
MUTEX(callbacks);
MUTEX(resolver);
MUTEX(tracker);
THREAD(processes) {
    LOCK(callbacks); meet();
    if (repaired) UNLOCK(callbacks);
    LOCK(resolver); UNLOCK(resolver);
    if (!repaired) UNLOCK(callbacks);
    return unused;
}
THREAD(resolves) { LOCK(resolver); meet(); LOCK(tracker); UNLOCK(tracker); UNLOCK(resolver); return unused; }
THREAD(announces) { LOCK(tracker); meet(); LOCK(callbacks); UNLOCK(callbacks); UNLOCK(tracker); return unused; }
PROGRAM(processes, resolves, announces)
