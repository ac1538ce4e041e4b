/* expect: misuse
 * A mutex is unlocked by a thread that did not lock it. */
#include "common.h"

static void *locks(void *unused) { pthread_mutex_lock(&a); return unused; }
static void *unlocks(void *unused) { pthread_mutex_unlock(&a); return unused; }
int main(void) {
    run(2, (void *(*[])(void *)){locks, unlocks});
    return 0;
}
