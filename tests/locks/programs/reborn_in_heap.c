/* expect: nothing
 * A mutex is freed, and a new mutex has the same address. */
#include "common.h"

static pthread_mutex_t *made(void) {
    pthread_mutex_t *lock = malloc(sizeof *lock);
    *lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    return lock;
}
static void *first(void *unused) {
    pthread_mutex_t *lock = made(); both(&a, lock); free(lock); return unused;
}
static void *second(void *unused) {
    pthread_mutex_t *lock = made(); both(lock, &a); free(lock); return unused;
}
int main(void) {
    /* One allocator's arena for all threads, so that the block is the same. */
    setenv("MALLOC_ARENA_MAX", "1", 1);
    run(2, (void *(*[])(void *)){first, second});
    return 0;
}
