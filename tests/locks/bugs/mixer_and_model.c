/* source: https://github.com/jubatus/jubatus/issues/180
 * order: inversion, hang: deadlock, repaired: nothing
 * An update holds the write lock of the model and calls the mixer. The mixer calls the model
 * under its own lock. */
#include "bugs.h"
static pthread_rwlock_t model = PTHREAD_RWLOCK_INITIALIZER;
MUTEX(mixer);
THREAD(updates) {
    pthread_rwlock_wrlock(&model); meet();
    LOCK(mixer); UNLOCK(mixer);
    pthread_rwlock_unlock(&model);
    return unused;
}
THREAD(mixes) {
    if (repaired) pthread_rwlock_wrlock(&model);
    LOCK(mixer); meet();
    if (!repaired) pthread_rwlock_wrlock(&model);
    pthread_rwlock_unlock(&model);
    UNLOCK(mixer);
    return unused;
}
PROGRAM(updates, mixes)
