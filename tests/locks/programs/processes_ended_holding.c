/* expect: misuse
 * A process ends while it holds a shared mutex, and no other process waits for it. */
#include "shared.h"

static void keeps(long unused) { (void)unused; pthread_mutex_lock(&shared->a); }
int main(void) {
    share(1);
    waitpid(start(keeps, 0), NULL, 0);
    return 0;
}
