/* expect: inversion
 * A mutex and a stream that is locked with flockfile, in both orders. */
#include "common.h"

static void *stream_first(void *unused) {
    flockfile(stderr);
    pthread_mutex_lock(&a);
    pthread_mutex_unlock(&a);
    funlockfile(stderr);
    return unused;
}

static void *mutex_first(void *unused) {
    pthread_mutex_lock(&a);
    flockfile(stderr);
    flockfile(stderr);
    funlockfile(stderr);
    funlockfile(stderr);
    pthread_mutex_unlock(&a);
    return unused;
}

int main(void) {
    run(2, (void *(*[])(void *)){stream_first, mutex_first});
    return 0;
}
