/* expect: inversion
 * Two child processes take two shared mutexes in different orders. */
#include "shared.h"

static void forth(void) { both(&shared->a, &shared->b); }
static void back(void) { both(&shared->b, &shared->a); }
static void child(long number) { in_turn(number ? back : forth, number); }
int main(void) {
    share(2);
    for (long number = 0; number < 2; number++) start(child, number);
    while (wait(NULL) > 0);
    return 0;
}
