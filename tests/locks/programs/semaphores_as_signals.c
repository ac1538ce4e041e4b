/* expect: nothing
 * Semaphores that other threads post, or whose
 * initial value is not 1, do not count as locks. */
#include "common.h"

#include <semaphore.h>
static sem_t handed, twice, counts;
static void *forth(void *unused) {
    pthread_mutex_lock(&a);
    sem_wait(&handed);
    sem_wait(&twice);
    sem_wait(&counts);
    pthread_mutex_unlock(&a);
    sem_post(&counts);
    return unused;
}
static void *back(void *unused) {
    sem_post(&handed);
    sem_wait(&handed);
    sem_post(&twice);
    sem_wait(&twice);
    sem_wait(&counts);
    both(&a, &b);
    sem_post(&counts);
    sem_post(&twice);
    sem_post(&handed);
    return unused;
}
static void *posts(void *unused) {
    usleep(30000);
    sem_post(&twice);
    return unused;
}
int main(void) {
    pthread_t helper;
    sem_init(&handed, 0, 1);
    sem_init(&twice, 0, 1);
    sem_init(&counts, 0, 3);
    sem_wait(&twice);
    pthread_create(&helper, NULL, posts, NULL);
    sem_wait(&twice);
    pthread_join(helper, NULL);
    sem_post(&twice);
    run(2, (void *(*[])(void *)){forth, back});
    return 0;
}
