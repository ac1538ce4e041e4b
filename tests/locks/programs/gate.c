/* expect: nothing
 * Two mutexes are taken in both orders, but only under a third mutex. */
#include "common.h"

static void *gated(void *unused) {
    pthread_mutex_lock(&c); both(&a, &b); pthread_mutex_unlock(&c); return unused;
}
static void *gated_back(void *unused) {
    pthread_mutex_lock(&c); both(&b, &a); pthread_mutex_unlock(&c); return unused;
}
int main(void) {
    run(2, (void *(*[])(void *)){gated, gated_back});
    return 0;
}
