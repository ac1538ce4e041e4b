/* source: https://github.com/realm/realm-object-store/issues/293
 * hang: deadlock, repaired: nothing
 * A manager calls its listeners under its lock, and a listener calls the manager under its own. */
#include "bugs.h"
MUTEX(manager);
static int session_count(void) {
    LOCK(manager);
    UNLOCK(manager);
    return 1;
}
static void on_state(void) { session_count(); }
THREAD(changes_state) {
    LOCK(manager);
    if (repaired) UNLOCK(manager);
    on_state();
    if (!repaired) UNLOCK(manager);
    return unused;
}
PROGRAM(changes_state)
