/* expect: deadlock
 * Another thread holds a mutex at a fork. The child waits for it forever. */
#include "common.h"

#include <sys/wait.h>
static atomic_int is_held;
static void *keeps(void *unused) {
    pthread_mutex_lock(&a);
    atomic_store(&is_held, 1);
    usleep(300000);
    pthread_mutex_unlock(&a);
    return unused;
}
static void want_it(void) { pthread_mutex_lock(&a); }
int main(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, keeps, NULL);
    while (!atomic_load(&is_held)) usleep(200);
    pid_t child = fork();
    if (child == 0) {
        want_it();
        return 0;
    }
    pthread_join(thread, NULL);
    waitpid(child, NULL, 0);
    return 0;
}
