/* expect: nothing
 * An allocator has fork handlers: they take its
 * locks before the fork, and release them afterwards
 * in the parent or initialise them in the child. */
#include "common.h"
#include <sys/wait.h>

#define COUNT 100
static pthread_mutex_t locks[COUNT];

static void take(void) { for (int i = 0; i < COUNT; i++) pthread_mutex_lock(&locks[i]); }
static void let_go(void) { for (int i = COUNT; i-- > 0;) pthread_mutex_unlock(&locks[i]); }
static void renew(void) { for (int i = 0; i < COUNT; i++) pthread_mutex_init(&locks[i], NULL); }
static void set_up(void) {
    renew();
    pthread_atfork(take, let_go, renew);
}
__attribute__((section(".preinit_array"), used)) static void (*first)(void) = set_up;

static atomic_int stop;
static void *work(void *unused) {
    while (!atomic_load(&stop))
        for (int i = 0; i < COUNT; i++) {
            pthread_mutex_lock(&locks[i]);
            pthread_mutex_unlock(&locks[i]);
        }
    return unused;
}

static void work_for_a_while(void) {
    pthread_t threads[2];
    atomic_store(&stop, 0);
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, work, NULL);
    for (int round = 0; round < 30; round++)
        for (int i = 0; i < COUNT; i++) {
            pthread_mutex_lock(&locks[i]);
            pthread_mutex_unlock(&locks[i]);
        }
    atomic_store(&stop, 1);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
}

int main(void) {
    for (int i = 0; i < 20; i++) {
        pid_t child = fork();
        work_for_a_while();
        if (child == 0) _exit(0);
        waitpid(child, NULL, 0);
    }
    return 0;
}
