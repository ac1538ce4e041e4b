/* source: https://github.com/qoretechnologies/qore/issues/2817
 * hang: stall with --stall 500ms, repaired: nothing
 * A thread holds a read lock and waits on a condition. The thread that notifies it wants the
 * lock for writing. A watchdog ends the program. */
#include "bugs.h"
static pthread_rwlock_t state = PTHREAD_RWLOCK_INITIALIZER;
MUTEX(inner);
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int is_changed;
THREAD(waits) {
    pthread_rwlock_rdlock(&state); meet();
    if (repaired) pthread_rwlock_unlock(&state);
    LOCK(inner);
    while (hangs && !is_changed) pthread_cond_wait(&changed, &inner);
    UNLOCK(inner);
    if (!repaired) pthread_rwlock_unlock(&state);
    return unused;
}
THREAD(changes) {
    meet();
    pthread_rwlock_wrlock(&state);
    LOCK(inner); is_changed = 1; pthread_cond_broadcast(&changed); UNLOCK(inner);
    pthread_rwlock_unlock(&state);
    return unused;
}
THREAD(watchdog) { meet(); if (hangs) { sleep(4); _exit(0); } return unused; }
PROGRAM(waits, changes, watchdog)
