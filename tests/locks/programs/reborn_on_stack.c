/* expect: information
 * Mutexes in the frames of two calls have the same address, but are different locks. (One thread
 * holds both: at most information.) */
#include "common.h"

static __attribute__((noinline)) void first(void) {
    pthread_mutex_t local = PTHREAD_MUTEX_INITIALIZER; both(&a, &local);
}
static __attribute__((noinline)) void second(void) {
    pthread_mutex_t local = PTHREAD_MUTEX_INITIALIZER; both(&local, &a);
}
static void *all(void *unused) { first(); second(); both(&a, &b); both(&b, &a); return unused; }
int main(void) {
    run(1, (void *(*[])(void *)){all});
    return 0;
}
