/* expect: inversion
 * A server that forks for each request: one request of hundreds takes its locks the wrong way. */
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
