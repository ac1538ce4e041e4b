/* expect: misuse
 * A thread ends while it holds a mutex. */
#include "common.h"

static void *keeps(void *unused) { pthread_mutex_lock(&a); return unused; }
int main(void) {
    run(1, (void *(*[])(void *)){keeps});
    return 0;
}
