/* expect: deadlock
 * A thread waits for a mutex whose owner has ended. */
#include "common.h"

static void *keeps(void *unused) { pthread_mutex_lock(&a); return unused; }
static void *wants(void *unused) { pthread_mutex_lock(&a); return unused; }
int main(void) {
    run(2, (void *(*[])(void *)){keeps, wants});
    return 0;
}
