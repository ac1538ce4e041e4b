/* source: https://github.com/google/sanitizers/issues/1668
 * order: nothing
 * A lock for the finalizer is only ever shared: with a mutex in both orders nobody waits for it. */
#include "bugs.h"
static pthread_rwlock_t finalizer = PTHREAD_RWLOCK_INITIALIZER;
MUTEX(client);
THREAD(resolves) {
    LOCK(client); pthread_rwlock_rdlock(&finalizer);
    pthread_rwlock_unlock(&finalizer); UNLOCK(client);
    return unused;
}
THREAD(moves) {
    pthread_rwlock_rdlock(&finalizer); LOCK(client);
    UNLOCK(client); pthread_rwlock_unlock(&finalizer);
    return unused;
}
PROGRAM(resolves, moves)
