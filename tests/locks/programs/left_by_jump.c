/* expect: nothing
 * A handler of a signal leaves the wait for a mutex by siglongjmp(3), and the thread goes on. */
#include <setjmp.h>
#include <signal.h>

#include "common.h"

static sigjmp_buf before;
static atomic_int step;

static void leave(int number) { siglongjmp(before, number); }

static void *other(void *unused) {
    pthread_mutex_lock(&a);
    step = 1;
    while (step != 2) usleep(1000);
    pthread_mutex_lock(&b);
    pthread_mutex_unlock(&b);
    pthread_mutex_unlock(&a);
    return unused;
}
int main(void) {
    pthread_t thread;
    signal(SIGALRM, leave);
    pthread_create(&thread, NULL, other, NULL);
    while (step != 1) usleep(1000);
    if (sigsetjmp(before, 1) == 0) {
        ualarm(200000, 0);
        pthread_mutex_lock(&a);
    }
    /* Each waits for the other's lock, if the wait counted that is over. */
    pthread_mutex_lock(&b);
    step = 2;
    usleep(1000000);
    pthread_mutex_unlock(&b);
    pthread_join(thread, NULL);
    return 0;
}
