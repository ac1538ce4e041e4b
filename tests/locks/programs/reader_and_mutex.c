/* expect: inversion
 * A reader wants a mutex, and the owner of the mutex wants the lock for writing. */
#include "common.h"

static pthread_rwlock_t r = PTHREAD_RWLOCK_INITIALIZER;
static void *one(void *unused) {
    pthread_rwlock_rdlock(&r); pthread_mutex_lock(&a);
    pthread_mutex_unlock(&a); pthread_rwlock_unlock(&r); return unused;
}
static void *other(void *unused) {
    pthread_mutex_lock(&a); pthread_rwlock_wrlock(&r);
    pthread_rwlock_unlock(&r); pthread_mutex_unlock(&a); return unused;
}
int main(void) {
    run(2, (void *(*[])(void *)){one, other});
    return 0;
}
