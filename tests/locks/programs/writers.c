/* expect: inversion
 * Two read-write locks in both orders, for writing. */
#include "common.h"

static pthread_rwlock_t r = PTHREAD_RWLOCK_INITIALIZER, s = PTHREAD_RWLOCK_INITIALIZER;
static void *one(void *unused) {
    pthread_rwlock_wrlock(&r); pthread_rwlock_wrlock(&s);
    pthread_rwlock_unlock(&s); pthread_rwlock_unlock(&r); return unused;
}
static void *other(void *unused) {
    pthread_rwlock_wrlock(&s); pthread_rwlock_wrlock(&r);
    pthread_rwlock_unlock(&r); pthread_rwlock_unlock(&s); return unused;
}
int main(void) {
    run(2, (void *(*[])(void *)){one, other});
    return 0;
}
