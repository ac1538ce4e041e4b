/* source: https://github.com/google/sanitizers/issues/1668
 * order: nothing
 * A read-write lock and a mutex in both orders. The read-write lock is only held for reading. */
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
