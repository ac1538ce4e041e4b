/* expect: nothing
 * An ordinary queue with a condition variable. */
#include "common.h"

static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static int items;
static void *takes(void *unused) {
    for (int i = 0; i < 100; i++) {
        pthread_mutex_lock(&a);
        while (items == 0) pthread_cond_wait(&condition, &a);
        items--;
        pthread_mutex_unlock(&a);
    }
    return unused;
}
static void *puts_in(void *unused) {
    for (int i = 0; i < 100; i++) {
        pthread_mutex_lock(&a);
        items++;
        pthread_cond_signal(&condition);
        pthread_mutex_unlock(&a);
    }
    return unused;
}
int main(void) {
    pthread_t threads[2];
    pthread_create(&threads[0], NULL, takes, NULL);
    pthread_create(&threads[1], NULL, puts_in, NULL);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    return 0;
}
