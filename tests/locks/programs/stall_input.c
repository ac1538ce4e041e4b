/* expect: warning with --stall 500ms
 * A thread holds a mutex while it reads from a pipe: a warning. */
#include "common.h"

static int ends[2];
static void *reads(void *unused) {
    char byte;
    pthread_mutex_lock(&a);
    while (read(ends[0], &byte, 1) < 0) {
    }
    pthread_mutex_unlock(&a);
    return unused;
}
static void *wants(void *unused) {
    pthread_mutex_lock(&a);
    pthread_mutex_unlock(&a);
    return unused;
}
int main(void) {
    pthread_t threads[2];
    if (pipe(ends)) return 1;
    pthread_create(&threads[0], NULL, reads, NULL);
    usleep(200000);
    pthread_create(&threads[1], NULL, wants, NULL);
    usleep(5000000);
    if (write(ends[1], "x", 1) != 1) return 1;
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    return 0;
}
