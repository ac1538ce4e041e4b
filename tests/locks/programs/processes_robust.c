/* expect: nothing
 * A process ends while it holds a robust mutex. The next owner repairs the data. */
#include "shared.h"

#include <errno.h>
static void keeps(long unused) { (void)unused; pthread_mutex_lock(&shared->ring[0]); _exit(0); }
static void mends(long unused) {
    (void)unused;
    if (pthread_mutex_lock(&shared->ring[0]) == EOWNERDEAD) {
        pthread_mutex_consistent(&shared->ring[0]);
    }
    usleep(300000);
    pthread_mutex_unlock(&shared->ring[0]);
}
int main(void) {
    share(1);
    share_mutex(&shared->ring[0], 1);
    waitpid(start(keeps, 0), NULL, 0);
    start(mends, 0);
    usleep(50000);
    start(mends, 0);
    while (wait(NULL) > 0);
    return 0;
}
