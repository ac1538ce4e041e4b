/* source: https://github.com/sleuthkit/sleuthkit/pull/2402
 * order: inversion, hang: deadlock, repaired: nothing
 * The only connection of a pool is taken before a lock in one place, after it in another. */
#include "bugs.h"
#include <semaphore.h>
static sem_t pool;
MUTEX(cache);
THREAD(adds_host) {
    if (repaired) LOCK(cache);
    sem_wait(&pool); meet();
    if (!repaired) LOCK(cache);
    UNLOCK(cache);
    sem_post(&pool);
    return unused;
}
THREAD(fills_cache) { LOCK(cache); meet(); sem_wait(&pool); sem_post(&pool); UNLOCK(cache); return unused; }
int main(int argc, char **argv) {
    void *(*bodies[])(void *) = {adds_host, fills_cache};
    set_form(argc, argv);
    sem_init(&pool, 0, 1);
    run(2, bodies);
    return 0;
}
