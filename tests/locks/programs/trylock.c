/* expect: nothing
 * The inner lock of one order is taken with a trylock. */
#include "common.h"

static void *tries(void *unused) {
    pthread_mutex_lock(&b);
    if (pthread_mutex_trylock(&a) == 0) pthread_mutex_unlock(&a);
    pthread_mutex_unlock(&b);
    return unused;
}
int main(void) {
    run(2, (void *(*[])(void *)){a_then_b, tries});
    return 0;
}
