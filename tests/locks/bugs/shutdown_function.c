/* source: https://github.com/pmmp/ext-pmmpthread/issues/67
 * hang: deadlock, repaired: nothing
 * A thread wakes another thread and joins it while it holds the condition's lock. */
#include "bugs.h"
MUTEX(monitor);
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int is_over;
static atomic_int is_waiting;
THREAD(waits) {
    LOCK(monitor);
    atomic_store(&is_waiting, 1);
    while (!is_over) pthread_cond_wait(&changed, &monitor);
    UNLOCK(monitor);
    return unused;
}
int main(int argc, char **argv) {
    pthread_t thread;
    set_form(argc, argv);
    pthread_create(&thread, NULL, waits, NULL);
    while (!atomic_load(&is_waiting)) usleep(200);
    LOCK(monitor);
    is_over = 1;
    pthread_cond_signal(&changed);
    if (repaired) UNLOCK(monitor);
    pthread_join(thread, NULL);
    if (!repaired) UNLOCK(monitor);
    return 0;
}
