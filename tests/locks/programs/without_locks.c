/* expect: uncovered
 * A program without locks. */
#include "common.h"

int main(void) {
    puts("nothing to see");
    return 0;
}
