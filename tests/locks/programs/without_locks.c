/* expect: uncovered
 * No lock at all. */
#include "common.h"

int main(void) {
    puts("nothing to see");
    return 0;
}
