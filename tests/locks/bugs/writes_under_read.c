/* source: https://github.com/ZettaScaleLabs/hiroz/issues/256
 * hang: deadlock, repaired: nothing
 * A callback runs under the read lock of its table, and registers another callback. */
#include "bugs.h"
static pthread_rwlock_t callbacks = PTHREAD_RWLOCK_INITIALIZER;
static void registers(void) {
    pthread_rwlock_wrlock(&callbacks); pthread_rwlock_unlock(&callbacks);
}
THREAD(sets_parameter) {
    pthread_rwlock_rdlock(&callbacks);
    if (repaired) pthread_rwlock_unlock(&callbacks);
    registers();
    if (!repaired) pthread_rwlock_unlock(&callbacks);
    return unused;
}
PROGRAM(sets_parameter)
