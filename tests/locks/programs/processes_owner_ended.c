/* expect: deadlock
 * A process ended while it held a shared mutex, and another process waits for it. */
#include "shared.h"

static void keeps(long unused) { (void)unused; pthread_mutex_lock(&shared->a); _exit(0); }
static void wants(long unused) { (void)unused; pthread_mutex_lock(&shared->a); }
int main(void) {
    share(1);
    waitpid(start(keeps, 0), NULL, 0);
    waitpid(start(wants, 0), NULL, 0);
    return 0;
}
