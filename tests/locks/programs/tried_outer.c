/* expect: inversion
 * The outer lock of one order was taken with a trylock, which does not matter. */
#include "common.h"

static void *tries(void *unused) {
    if (pthread_mutex_trylock(&b) == 0) {
        pthread_mutex_lock(&a);
        pthread_mutex_unlock(&a);
        pthread_mutex_unlock(&b);
    }
    return unused;
}
int main(void) {
    run(2, (void *(*[])(void *)){a_then_b, tries});
    return 0;
}
