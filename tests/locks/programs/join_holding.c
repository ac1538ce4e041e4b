/* expect: deadlock
 * A thread joins another thread while it holds the mutex that the other one wants. */
#include "common.h"

static atomic_int is_held;

static void *wants(void *unused) {
    while (!atomic_load(&is_held)) usleep(200);
    pthread_mutex_lock(&a);
    pthread_mutex_unlock(&a);
    return unused;
}

int main(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, wants, NULL);
    pthread_mutex_lock(&a);
    atomic_store(&is_held, 1);
    pthread_join(thread, NULL);
    pthread_mutex_unlock(&a);
    return 0;
}
