/* expect: inversion
 * Threads with the smallest stacks that may be take both orders, and a handler on a signal's stack
 * of 8 KiB posts a semaphore: nothing below that stack is written to. */
#define _GNU_SOURCE
#include "common.h"

#include <limits.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>

enum { BELOW = 64 << 10, SIGNALS_BYTES = 8 << 10, MARK = 0x5a };

static char memory[BELOW + SIGNALS_BYTES];
static sem_t posted;

static void handle(int number) {
    (void)number;
    sem_post(&posted);
}

int main(void) {
    memset(memory, MARK, BELOW);
    stack_t stack = {.ss_sp = memory + BELOW, .ss_size = SIGNALS_BYTES};
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_ONSTACK};
    sem_init(&posted, 0, 0);
    sigaltstack(&stack, NULL);
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    sem_wait(&posted);
    for (int at = 0; at < BELOW; at++)
        if (memory[at] != MARK) abort();

    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, PTHREAD_STACK_MIN);
    pthread_setattr_default_np(&small);
    run(2, (void *(*[])(void *)){a_then_b, b_then_a});
    return 0;
}
