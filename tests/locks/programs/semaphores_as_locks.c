/* expect: inversion
 * Two semaphores with the initial value 1, which each thread posts after it has waited: locks. */
#include "common.h"

#include <semaphore.h>
static sem_t one, other;
static void take_both(sem_t *first, sem_t *second) {
    sem_wait(first);
    sem_wait(second);
    sem_post(second);
    sem_post(first);
}
static void *forth(void *unused) { take_both(&one, &other); return unused; }
static void *back(void *unused) { take_both(&other, &one); return unused; }
int main(void) {
    sem_init(&one, 0, 1);
    sem_init(&other, 0, 1);
    run(2, (void *(*[])(void *)){forth, back});
    return 0;
}
