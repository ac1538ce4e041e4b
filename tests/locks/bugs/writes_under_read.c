/* source: https://github.com/ZettaScaleLabs/hiroz/issues/256
 * hang: deadlock, repaired: nothing
 * A callback is called under the read lock of the table that it is in, and registers another. */
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
