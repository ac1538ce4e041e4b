/* source: https://github.com/lms-org/lms/issues/48
 * hang: deadlock, repaired: nothing
 * A signal handler logs, and the signal arrives while the log's mutex is held. */
#include "bugs.h"
#include <signal.h>
MUTEX(log_lock);
static volatile sig_atomic_t is_asked;
static void logs(void) { LOCK(log_lock); UNLOCK(log_lock); }
static void on_signal(int number) {
    (void)number;
    is_asked = 1;
    if (!repaired) logs();
}
THREAD(works) {
    LOCK(log_lock);
    raise(SIGUSR1);
    UNLOCK(log_lock);
    if (is_asked) logs();
    return unused;
}
int main(int argc, char **argv) {
    void *(*bodies[])(void *) = {works};
    set_form(argc, argv);
    signal(SIGUSR1, on_signal);
    run(1, bodies);
    return 0;
}
