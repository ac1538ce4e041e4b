/* expect: nothing
 * A thread ends while it holds a robust
 * mutex. The next owner is notified. */
#include "shared.h"

#include <errno.h>
static void *keeps(void *unused) { pthread_mutex_lock(&shared->ring[0]); return unused; }
static void *mends(void *unused) {
    if (pthread_mutex_lock(&shared->ring[0]) == EOWNERDEAD) {
        pthread_mutex_consistent(&shared->ring[0]);
    }
    pthread_mutex_unlock(&shared->ring[0]);
    return unused;
}
int main(void) {
    share(1);
    share_mutex(&shared->ring[0], 1);
    run(2, (void *(*[])(void *)){keeps, mends});
    return 0;
}
