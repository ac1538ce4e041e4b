/* expect: inversion
 * What is handed over says nothing: each order is made behind it, beside the other one. */
#include <semaphore.h>

#include "common.h"

static sem_t semaphore;

static void *posts_first(void *unused) {
    sem_post(&semaphore);
    both(&a, &b);
    return unused;
}

static void *waits_first(void *unused) {
    sem_wait(&semaphore);
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
