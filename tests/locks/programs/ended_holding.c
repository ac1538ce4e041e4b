/* expect: misuse
 * A thread ends with a mutex in its hands. */
#include "common.h"

static void *keeps(void *unused) { pthread_mutex_lock(&a); return unused; }
int main(void) {
    run(1, (void *(*[])(void *)){keeps});
    return 0;
}
