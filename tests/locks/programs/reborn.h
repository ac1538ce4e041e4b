/* A thread takes a mutex after another lock. Then the program calls renew(), by which another mutex
 * comes to the same address, and another thread takes that one before the other lock. */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "common.h"

static pthread_mutex_t *lock;

static void renew(void);

static void wait_for(int number) {
    while (turn != number) usleep(1000);
}
static void *first(void *unused) {
    wait_for(1); both(&a, lock); turn = 2; return unused;
}
static void *second(void *unused) {
    wait_for(3); both(lock, &a); turn = 4; return unused;
}
static void *map(void *at, int flags) {
    flags |= MAP_PRIVATE | MAP_ANONYMOUS;
    void *memory = mmap(at, 4096, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (memory == MAP_FAILED) exit(2);
    return memory;
}
int main(void) {
    pthread_t threads[2];
    pthread_create(&threads[0], NULL, first, NULL);
    pthread_create(&threads[1], NULL, second, NULL);
    lock = map(NULL, 0);
    turn = 1; wait_for(2);
    renew();
    turn = 3; wait_for(4);
    for (int number = 0; number < 2; number++) pthread_join(threads[number], NULL);
    return 0;
}
