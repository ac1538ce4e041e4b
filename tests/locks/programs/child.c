/* expect: inversion
 * A child process takes two mutexes in both orders. */
#include "common.h"

#include <sys/wait.h>
int main(void) {
    pid_t child = fork();
    if (child == 0) {
        run(2, (void *(*[])(void *)){a_then_b, b_then_a});
        return 0;
    }
    waitpid(child, NULL, 0);
    return 0;
}
