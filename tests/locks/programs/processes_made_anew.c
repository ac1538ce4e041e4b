/* expect: nothing
 * Mutexes are initialised again in the same shared memory: they count as new locks. */
#include "shared.h"

static void forth(void) { both(&shared->a, &shared->b); }
static void back(void) { both(&shared->b, &shared->a); }
static void child(long number) { in_turn(forth, number); }
int main(void) {
    share(2);
    pid_t pid = start(child, 0);
    pthread_barrier_wait(&shared->together);
    while (atomic_load(&shared->turn) != 1) usleep(200);
    share_mutex(&shared->a, 0);
    share_mutex(&shared->b, 0);
    back();
    waitpid(pid, NULL, 0);
    return 0;
}
