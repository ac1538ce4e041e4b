/* source: https://github.com/gperftools/gperftools/issues/178
 * hang: deadlock, repaired: nothing
 * Another thread holds an allocator's lock at a fork. The fix registers fork handlers. */
#include "bugs.h"
#include <sys/wait.h>
MUTEX(arena);
static atomic_int is_held;
static void *allocate(int microseconds) {
    static char memory[64];
    LOCK(arena);
    atomic_store(&is_held, 1);
    usleep(microseconds);
    UNLOCK(arena);
    return memory;
}
static void before(void) { LOCK(arena); }
static void after(void) { UNLOCK(arena); }
THREAD(allocates) { allocate(200000); return unused; }
int main(int argc, char **argv) {
    pthread_t thread;
    set_form(argc, argv);
    if (repaired) pthread_atfork(before, after, after);
    pthread_create(&thread, NULL, allocates, NULL);
    while (!atomic_load(&is_held)) usleep(200);
    pid_t child = fork();
    if (child == 0) _exit(allocate(0) == NULL);
    waitpid(child, NULL, 0);
    pthread_join(thread, NULL);
    return 0;
}
