/* expect: deadlock
 * A thread takes a non-recursive mutex twice, and waits forever. */
#include "common.h"

static void *again(void *unused) {
    pthread_mutex_lock(&a);
    pthread_mutex_lock(&a);
    return unused;
}
int main(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, again, NULL);
    pthread_join(thread, NULL);
    return 0;
}
