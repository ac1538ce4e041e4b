/* source: https://github.com/apache/trafficserver/issues/3226
 * order: inversion, hang: deadlock, repaired: nothing
 * A session closes its streams under its lock; a stream reports errors under its own lock. */
#include "bugs.h"
MUTEX(session);
MUTEX(streams);
THREAD(closes_session) {
    LOCK(session); meet(); LOCK(streams);
    UNLOCK(streams); UNLOCK(session);
    return unused;
}
THREAD(stream_fails) {
    if (repaired) LOCK(session);
    LOCK(streams); meet();
    if (!repaired) LOCK(session);
    UNLOCK(session); UNLOCK(streams);
    return unused;
}
PROGRAM(closes_session, stream_fails)
