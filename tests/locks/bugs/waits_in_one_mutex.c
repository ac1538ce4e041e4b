/* source: https://github.com/mperham/connection_pool/issues/116
 * order: nothing
 * A thread waits on a condition for a free connection. The wait releases the mutex that is
 * needed to return a connection. */
#include "bugs.h"
MUTEX(stack);
static pthread_cond_t returned = PTHREAD_COND_INITIALIZER;
static int available;
THREAD(checks_out) {
    LOCK(stack);
    while (!available) pthread_cond_wait(&returned, &stack);
    available--;
    UNLOCK(stack);
    return unused;
}
THREAD(checks_in) { usleep(20000); LOCK(stack); available++; pthread_cond_signal(&returned); UNLOCK(stack); return unused; }
int main(int argc, char **argv) {
    void *(*bodies[])(void *) = {checks_out, checks_in};
    set_form(argc, argv);
    hangs = 1; /* Both at once. */
    run(2, bodies);
    return 0;
}
