/* expect: nothing
 * Another process posts the semaphore, so it counts as a notification. */
#include "shared.h"

static sem_t *handed;
static void waits(void) {
    pthread_mutex_lock(&shared->a);
    sem_wait(handed);
    pthread_mutex_unlock(&shared->a);
}
static void posts(void) { sem_post(handed); }
static void waits_within(void) {
    sem_wait(handed);
    both(&shared->a, &shared->b);
}
static void child(long number) { in_turn(number == 1 ? posts : waits_within, number); }
int main(void) {
    share(3);
    handed = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    sem_init(handed, 1, 1);
    for (long number = 1; number < 3; number++) start(child, number);
    in_turn(waits, 0);
    while (wait(NULL) > 0);
    return 0;
}
