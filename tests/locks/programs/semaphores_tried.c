/* expect: nothing
 * The second semaphore is taken with a try or a timeout, so no thread waits forever. */
#include "common.h"

#include <semaphore.h>
#include <time.h>
static sem_t one, other;
static void *forth(void *unused) {
    sem_wait(&one);
    if (sem_trywait(&other) == 0) sem_post(&other);
    sem_post(&one);
    return unused;
}
static void *back(void *unused) {
    struct timespec moment;
    clock_gettime(CLOCK_REALTIME, &moment);
    moment.tv_sec += 1;
    sem_wait(&other);
    if (sem_timedwait(&one, &moment) == 0) sem_post(&one);
    sem_post(&other);
    return unused;
}
int main(void) {
    sem_init(&one, 0, 1);
    sem_init(&other, 0, 1);
    run(2, (void *(*[])(void *)){forth, back});
    return 0;
}
