/* expect: nothing
 * Other threads hold mutexes at a fork, but the
 * child does not use them or initialises them. */
#include "common.h"

#include <sys/wait.h>
static atomic_int is_held;
static void *keeps(void *unused) {
    pthread_mutex_lock(&a);
    pthread_mutex_lock(&c);
    atomic_store(&is_held, 1);
    usleep(300000);
    pthread_mutex_unlock(&c);
    pthread_mutex_unlock(&a);
    return unused;
}
static void make_anew(void) { pthread_mutex_init(&c, NULL); }
int main(void) {
    pthread_t thread;
    pthread_atfork(NULL, NULL, make_anew);
    pthread_create(&thread, NULL, keeps, NULL);
    while (!atomic_load(&is_held)) usleep(200);
    pthread_mutex_lock(&b);
    pid_t child = fork();
    pthread_mutex_unlock(&b);
    if (child == 0) {
        both(&b, &c);
        usleep(400000);
        return 0;
    }
    pthread_join(thread, NULL);
    waitpid(child, NULL, 0);
    return 0;
}
