/* expect: deadlock
 * Several processes wait for each other in a cycle. The argument is their number. */
#include "shared.h"

static int count;
static void take_next(long i) { pthread_mutex_lock(&shared->ring[(i + 1) % count]); }
static void waits(long i) {
    pthread_mutex_lock(&shared->ring[i]);
    pthread_barrier_wait(&shared->together);
    take_next(i);
}
int main(int arguments, char **words) {
    count = arguments > 1 ? atoi(words[1]) : 2;
    share(count);
    for (int i = 0; i < count; i++) share_mutex(&shared->ring[i], 0);
    for (long i = 1; i < count; i++) start(waits, i);
    waits(0);
    return 0;
}
