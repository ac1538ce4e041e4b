/* expect: warning with --stall 500ms
 * A thread sleeps for seconds while it holds a mutex that another thread wants: a warning. */
#include "common.h"

static void *keeps(void *unused) {
    pthread_mutex_lock(&a);
    usleep(5000000);
    pthread_mutex_unlock(&a);
    return unused;
}
static void *wants(void *unused) {
    usleep(200000);
    pthread_mutex_lock(&a);
    pthread_mutex_unlock(&a);
    return unused;
}
int main(void) {
    pthread_t threads[2];
    pthread_create(&threads[0], NULL, keeps, NULL);
    pthread_create(&threads[1], NULL, wants, NULL);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    return 0;
}
