/* source: https://github.com/google/sanitizers/issues/1862
 * order: nothing
 * Two read-write locks. One thread holds both for reading. The other one reads the second lock
 * and writes the first. No thread writes the second lock. */
#include "bugs.h"
static pthread_rwlock_t first = PTHREAD_RWLOCK_INITIALIZER, second = PTHREAD_RWLOCK_INITIALIZER;
THREAD(shares) {
    pthread_rwlock_rdlock(&first); pthread_rwlock_rdlock(&second);
    pthread_rwlock_unlock(&second); pthread_rwlock_unlock(&first);
    return unused;
}
THREAD(writes) {
    pthread_rwlock_rdlock(&second); pthread_rwlock_wrlock(&first);
    pthread_rwlock_unlock(&first); pthread_rwlock_unlock(&second);
    return unused;
}
PROGRAM(shares, writes)
