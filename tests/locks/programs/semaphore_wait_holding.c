/* expect: information
 * A thread waits for a notification while it holds a mutex. */
#include "common.h"

#include <semaphore.h>
static sem_t signal;
static void *waits(void *unused) {
    pthread_mutex_lock(&a);
    sem_wait(&signal);
    pthread_mutex_unlock(&a);
    return unused;
}
int main(void) {
    pthread_t thread;
    sem_init(&signal, 0, 0);
    pthread_create(&thread, NULL, waits, NULL);
    usleep(20000);
    sem_post(&signal);
    pthread_join(thread, NULL);
    return 0;
}
