/* expect: nothing
 * A mutex is destroyed and initialised again at the same address: it counts as a new lock. */
#include "common.h"

static void *again(void *unused) {
    pthread_mutex_destroy(&b);
    pthread_mutex_init(&b, NULL);
    both(&b, &a);
    return unused;
}
int main(void) {
    run(2, (void *(*[])(void *)){a_then_b, again});
    return 0;
}
