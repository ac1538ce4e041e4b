/* expect: inversion
 * A server forks per request. One request in hundreds takes its locks in another order. */
#include <sys/wait.h>

#include "common.h"

int main(void) {
    for (int number = 0; number < 400; number++) {
        pid_t child = fork();
        if (child == 0) {
            both(&a, &b);
            if (number == 7) run(2, (void *(*[])(void *)){a_then_b, b_then_a});
            _exit(0);
        }
        waitpid(child, NULL, 0);
    }
    return 0;
}
