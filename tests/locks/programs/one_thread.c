/* expect: information
 * One thread takes two mutexes in both orders, so it cannot wait for itself. */
#include "common.h"

static void *twice(void *unused) { both(&a, &b); both(&b, &a); return unused; }
int main(void) {
    run(1, (void *(*[])(void *)){twice});
    return 0;
}
