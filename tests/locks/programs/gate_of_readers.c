/* expect: inversion
 * The third lock is only held for reading, so it does not exclude other threads. */
#include "common.h"

static pthread_rwlock_t gate = PTHREAD_RWLOCK_INITIALIZER;
static void *gated(void *unused) {
    pthread_rwlock_rdlock(&gate); both(&a, &b); pthread_rwlock_unlock(&gate); return unused;
}
static void *gated_back(void *unused) {
    pthread_rwlock_rdlock(&gate); both(&b, &a); pthread_rwlock_unlock(&gate); return unused;
}
int main(void) {
    run(2, (void *(*[])(void *)){gated, gated_back});
    return 0;
}
