/* expect: inversion
 * Two threads take two spin locks in both orders. */
#include "common.h"

static pthread_spinlock_t x, y;
static void *one(void *unused) {
    pthread_spin_lock(&x); pthread_spin_lock(&y);
    pthread_spin_unlock(&y); pthread_spin_unlock(&x); return unused;
}
static void *other(void *unused) {
    pthread_spin_lock(&y); pthread_spin_lock(&x);
    pthread_spin_unlock(&x); pthread_spin_unlock(&y); return unused;
}
int main(void) {
    pthread_spin_init(&x, PTHREAD_PROCESS_PRIVATE);
    pthread_spin_init(&y, PTHREAD_PROCESS_PRIVATE);
    run(2, (void *(*[])(void *)){one, other});
    return 0;
}
