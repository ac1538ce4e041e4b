/* source: https://github.com/eclipse-zenoh/zenoh/issues/1092
 * order: inversion, hang: deadlock, repaired: nothing
 * A library calls a user's function while its tables are locked. The user calls the library
 * while it holds a lock that the function also takes. */
#include "bugs.h"
MUTEX(tables);
MUTEX(users);
static void on_liveliness(void) { LOCK(users); UNLOCK(users); }
static void put(void) { LOCK(tables); UNLOCK(tables); }
THREAD(declares) {
    LOCK(tables); meet();
    if (repaired) UNLOCK(tables);
    on_liveliness();
    if (!repaired) UNLOCK(tables);
    return unused;
}
THREAD(publishes) { LOCK(users); meet(); put(); UNLOCK(users); return unused; }
PROGRAM(declares, publishes)
