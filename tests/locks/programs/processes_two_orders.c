/* expect: inversion
 * Parent and child take two shared mutexes in different orders. */
#include "shared.h"

static void forth(void) { both(&shared->a, &shared->b); }
static void back(void) { both(&shared->b, &shared->a); }
static void child(long number) { in_turn(back, number); }
int main(void) {
    share(2);
    pid_t pid = start(child, 1);
    in_turn(forth, 0);
    waitpid(pid, NULL, 0);
    return 0;
}
