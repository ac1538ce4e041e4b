/* expect: inversion
 * More locks and threads are created and destroyed
 * than the record can hold at the same time. */
#include "common.h"

#define LOCKS 600000
#define THREADS 34000

static pthread_mutex_t outer = PTHREAD_MUTEX_INITIALIZER;

static void *nothing(void *unused) {
    pthread_mutex_lock(&outer);
    pthread_mutex_unlock(&outer);
    return unused;
}

int main(void) {
    pthread_mutex_t *lock = malloc(sizeof *lock);
    for (int number = 0; number < LOCKS; number++) {
        pthread_mutex_init(lock, NULL);
        pthread_mutex_lock(lock);
        pthread_mutex_unlock(lock);
        pthread_mutex_destroy(lock);
    }
    for (int number = 0; number < THREADS; number++) {
        pthread_t thread;
        pthread_create(&thread, NULL, nothing, NULL);
        pthread_join(thread, NULL);
    }
    run(2, (void *(*[])(void *)){a_then_b, b_then_a});
    return 0;
}
