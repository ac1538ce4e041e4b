/* expect: nothing
 * Processes that do not run at the same
 * time take the locks in different orders. */
#include "shared.h"

static void back(long unused) { (void)unused; both(&shared->b, &shared->a); }
static void forth(long unused) { (void)unused; both(&shared->a, &shared->b); }
int main(void) {
    share(1);
    forth(0);
    waitpid(start(back, 0), NULL, 0);
    siginfo_t info;
    waitid(P_PID, start(forth, 0), &info, WEXITED);
    both(&shared->b, &shared->a);
    return 0;
}
