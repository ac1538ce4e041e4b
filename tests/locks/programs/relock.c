/* expect: deadlock
 * A mutex that is not recursive is taken again, which never returns. */
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
