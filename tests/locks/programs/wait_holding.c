/* expect: information
 * A thread waits on a condition while it holds another mutex. */
#include "common.h"

static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static int told;
static void *waits(void *unused) {
    pthread_mutex_lock(&a);
    pthread_mutex_lock(&b);
    usleep(1000);
    while (!told) pthread_cond_wait(&condition, &b);
    pthread_mutex_unlock(&b);
    pthread_mutex_unlock(&a);
    return unused;
}
static void *tells(void *unused) {
    usleep(50000);
    pthread_mutex_lock(&b);
    told = 1;
    pthread_cond_signal(&condition);
    pthread_mutex_unlock(&b);
    return unused;
}
int main(void) {
    pthread_t threads[2];
    pthread_create(&threads[0], NULL, waits, NULL);
    pthread_create(&threads[1], NULL, tells, NULL);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    return 0;
}
