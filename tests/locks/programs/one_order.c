/* expect: nothing
 * Two threads take two mutexes in the same order. */
#include "common.h"

int main(void) {
    run(3, (void *(*[])(void *)){a_then_b, a_then_b, a_then_b});
    return 0;
}
