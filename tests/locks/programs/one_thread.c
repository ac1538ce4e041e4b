/* expect: information
 * One thread alone takes them in both orders: it never waits for itself. */
#include "common.h"

static void *twice(void *unused) { both(&a, &b); both(&b, &a); return unused; }
int main(void) {
    run(1, (void *(*[])(void *)){twice});
    return 0;
}
