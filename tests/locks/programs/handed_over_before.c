/* expect: inversion
 * The notification comes before both orders, so it does not separate them. A flag separates
 * them, but flags are not watched. */
#include <semaphore.h>

#include "common.h"

static sem_t semaphore;
static atomic_int is_done;

static void *posts_first(void *unused) {
    sem_post(&semaphore);
    both(&a, &b);
    atomic_store(&is_done, 1);
    return unused;
}

static void *waits_first(void *unused) {
    sem_wait(&semaphore);
    while (!atomic_load(&is_done)) usleep(200);
    both(&b, &a);
    return unused;
}

int main(void) {
    pthread_t threads[2];
    sem_init(&semaphore, 0, 0);
    pthread_create(&threads[0], NULL, waits_first, NULL);
    pthread_create(&threads[1], NULL, posts_first, NULL);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    return 0;
}
