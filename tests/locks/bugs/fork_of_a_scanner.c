/* source: https://github.com/greenbone/openvas-scanner/pull/491
 * hang: deadlock, repaired: nothing
 * A thread of the parent logs during a fork. The child's first log message wants the log's lock,
 * which no thread in the child can release. */
#include "bugs.h"
#include <sys/wait.h>
MUTEX(log_lock);
static atomic_int is_held;
THREAD(logs) {
    LOCK(log_lock);
    atomic_store(&is_held, 1);
    usleep(repaired ? 50000 : 500000);
    UNLOCK(log_lock);
    return unused;
}
int main(int argc, char **argv) {
    pthread_t thread;
    set_form(argc, argv);
    pthread_create(&thread, NULL, logs, NULL);
    while (!atomic_load(&is_held)) usleep(200);
    if (repaired) LOCK(log_lock);
    pid_t child = fork();
    if (repaired) UNLOCK(log_lock);
    if (child == 0) {
        LOCK(log_lock); UNLOCK(log_lock);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    pthread_join(thread, NULL);
    return 0;
}
