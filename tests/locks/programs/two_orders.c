/* expect: inversion
 * Two threads take two mutexes in both orders. */
#include "common.h"

int main(void) {
    run(2, (void *(*[])(void *)){a_then_b, b_then_a});
    return 0;
}
