/* expect: inversion
 * Three threads take three mutexes in a cycle. */
#include "common.h"

static void *b_then_c(void *unused) { both(&b, &c); return unused; }
static void *c_then_a(void *unused) { both(&c, &a); return unused; }
int main(void) {
    run(3, (void *(*[])(void *)){a_then_b, b_then_c, c_then_a});
    return 0;
}
