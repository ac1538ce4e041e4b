/* expect: stall with --stall 500ms
 * A thread holds a mutex that two threads want, and waits for a post that never comes. */
#include "common.h"

#include <semaphore.h>
#include <stdlib.h>
static sem_t done;
static void *keeps(void *unused) {
    pthread_mutex_lock(&a);
    sem_wait(&done);
    pthread_mutex_unlock(&a);
    return unused;
}
static void *wants(void *unused) {
    pthread_mutex_lock(&a);
    pthread_mutex_unlock(&a);
    return unused;
}
int main(void) {
    pthread_t threads[3];
    sem_init(&done, 0, 0);
    pthread_create(&threads[0], NULL, keeps, NULL);
    usleep(200000);
    for (int i = 1; i < 3; i++) pthread_create(&threads[i], NULL, wants, NULL);
    sleep(3);
    exit(0);
}
